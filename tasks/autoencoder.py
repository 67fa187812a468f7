"""Auto-encoders: plain, denoising (Vincent et al. 2008) and variational (Kingma and Welling 2014)."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, mse_loss

from modules.contracts import Batch, ConfigError, Prediction
from modules.gan import DCGANGenerator, ImageSpec, to_bytes
from modules.gan.contracts import GeneratorFactory
from modules.losses.variational import divergence, likelihood_loss
from tasks.base import Stage
from tasks.pretraining import Pretraining

GRID = 4  # cells of the coarsest map, to either side, that the code is made of
FIXED = 64  # fixed noise vectors for figures


class AutoEncoderOutput(NamedTuple):
    """Forward pass: `target` float (B, C, H, W) in -1..1, `seen` the same with noise, `made` the reconstruction.

    The code's `mean` and `log_variance` (B, latent), the latter null unless variational.
    """

    target: Tensor
    seen: Tensor
    made: Tensor
    mean: Tensor
    log_variance: Tensor | None


class AutoEncoder(Pretraining):
    """Self-supervised: reconstruct images from a low-dimensional code (plain, denoising or variational auto-encoder).

    Plain by default; `noise` makes it denoising, `beta` variational, which can also generate new images.

    Args:
        decoder: any image generator.
        image_size: side of the images in pixels; the command line takes the data's.
        latent: dimension of the code.
        noise: standard deviation of the noise added to the input, where 1 is the range from black to white; the target
            has none. 0 is off.
        beta: weight of the code's divergence from a standard normal distribution; 1 is the bound on the likelihood,
            larger values disentangle (Higgins et al. 2017). The variance of the pixels is their mean squared error
            (Rybkin et al. 2021). Null is off: the loss is the mean squared error.

    Attributes: `fixed_noise` (64, latent) is the same throughout a run; `condition` and `classes` are null, as of a
    generator without labels.
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image",)
    protocols: ClassVar[dict[str, str]] = {
        "loss": "mean squared error of pixels in -1..1; if variational half its logarithm + beta x divergence / pixels",
        "reconstruction_mse": "mean squared error of pixels in -1..1, with noise and with a code that is drawn",
        "kl": "mean over images, of the code's distribution from a standard normal one, in nats",
    }
    condition: None = None
    classes: None = None

    def __init__(
        self,
        decoder: GeneratorFactory = DCGANGenerator,
        image_size: int | None = None,
        latent: int = 128,
        noise: float = 0.0,
        beta: float | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if latent < 1 or noise < 0 or (beta is not None and beta <= 0):
            raise ConfigError(
                f"model.latent is {latent}, model.noise {noise:g} and model.beta {beta}: take 1 or more numbers, a "
                f"spread of 0 or more, and a weight above 0 or null"
            )
        if image_size is None:
            raise ConfigError("an auto-encoder draws images of one size: set --model.image_size")
        features, channels = self.backbone.features, self.backbone.in_channels
        self.grid = max(1, min(GRID, image_size // features.strides[-1]))
        self.code = nn.Linear(features.channels[-1] * self.grid**2, latent * (1 if beta is None else 2))
        self.decoder = decoder(ImageSpec(channels, image_size), latent).to(memory_format=torch.channels_last)
        self.image_size, self.latent, self.noise, self.beta = image_size, latent, noise, beta
        self.register_buffer("fixed_noise", torch.randn(FIXED, latent, generator=torch.Generator().manual_seed(0)))

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Normalized images (B, C, H, W) to mean and log variance of their code, (B, latent) each.

        The latter is null unless variational.
        """
        cells = adaptive_avg_pool2d(self.backbone(image)[-1], self.grid).flatten(1)
        if self.beta is None:
            return self.code(cells).float(), None
        mean, log_variance = self.code(cells).float().chunk(2, 1)
        return mean, log_variance.clamp(-20, 20)

    def decode(self, code: Tensor) -> Tensor:
        """Codes (B, latent) to images float32 (B, C, H, W) in -1..1."""
        return self.decoder(code.to(self.dtype)).float()

    def forward(self, image: Tensor) -> Tensor:
        """Normalized images (B, C, H, W) to reconstructions, float32 in -1..1."""
        return self.decode(self.encode(image)[0])

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        return self._costs(self._pass(batch["image"], generator))

    def eval_step(self, batch: Batch, index: int, stage: Stage) -> Prediction:
        output = self._pass(batch["image"], torch.Generator().manual_seed(index))
        self.log_mean(stage, self._costs(output), len(output.mean))
        self.records.add(stage, **self._each(output))
        made = output.made if self.beta is None else self.decode(output.mean)
        shown = {"reconstruction": made} | ({"seen": output.seen} if self.noise else {})
        return {name: to_bytes(image) for name, image in shown.items()} | {"code": output.mean}

    def generate(self, count: int, generator: torch.Generator | None = None, label: None = None) -> Tensor:
        """New images float32 (count, C, H, W) in -1..1.

        Raises:
            ConfigError: not variational.
        """
        noise = torch.randn(count, self.latent, generator=generator, device=(generator or self).device)
        return self.images(noise)

    def images(self, noise: Tensor, label: None = None) -> Tensor:
        """Images of given noise (N, latent), as `generate`."""
        if self.beta is None:
            raise ConfigError(
                "only a variational auto-encoder can draw new images, since it knows how codes are spread: set "
                "--model.beta 1 and train it"
            )
        return self.decoder.sample(noise.to(self.device).to(self.dtype))

    def _pass(self, image: Tensor, generator: torch.Generator | None) -> AutoEncoderOutput:
        height, width = image.shape[-2:]
        if (height, width) != (self.image_size, self.image_size):
            raise ConfigError(
                f"the data gives images of {height} x {width} pixels, but the decoder draws them of "
                f"{self.image_size}: set --data.image_size {self.image_size}"
            )
        target, seen = 2 * self.backbone.restore(image) - 1, image
        if self.noise:
            seen = image + self.noise * _normal(image, generator) / self.backbone.std.view(1, -1, 1, 1)
        code, log_variance = self.encode(seen)
        drawn = code if log_variance is None else code + (0.5 * log_variance).exp() * _normal(code, generator)
        shown = 2 * self.backbone.restore(seen) - 1 if self.noise else target
        return AutoEncoderOutput(target, shown, self.decode(drawn), code, log_variance)

    def _costs(self, output: AutoEncoderOutput) -> dict[str, Tensor]:
        error = mse_loss(output.made, output.target)
        if output.log_variance is None:
            return {"loss": error, "reconstruction_mse": error}
        spread, pixels = divergence(output.mean, output.log_variance).mean(), output.target[0].numel()
        loss = likelihood_loss(error) + self.beta * spread / pixels
        return {"loss": loss, "reconstruction_mse": error, "kl": spread}

    def _each(self, output: AutoEncoderOutput) -> dict[str, Tensor]:
        """Those of the costs that are means over images, (B,); the loss of a variational one is none."""
        error = (output.made - output.target).square().flatten(1).mean(1)
        if output.log_variance is None:
            return {"loss": error, "reconstruction_mse": error}
        return {"reconstruction_mse": error, "kl": divergence(output.mean, output.log_variance)}


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        return torch.randn_like(like)
    return torch.randn(like.shape, generator=generator).to(like)
