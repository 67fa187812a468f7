"""Image generation from noise and labels by the generator or its EMA, reproducible on any device count."""

from copy import deepcopy

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from modules.contracts import Batch, ConfigError, Prediction, pixel_scale, with_channels
from modules.gan import BackboneDiscriminator, Condition, DCGANDiscriminator, DCGANGenerator, ImageSpec
from modules.gan.contracts import DiscriminatorFactory, Generator, GeneratorFactory
from modules.gan.noise import keyed_noise
from modules.training.ema import follow, share_at
from modules.training.transfer import load_backbone
from tasks.turns import Turns

FIXED = 64  # fixed noise vectors for figures


class Generation(Turns):
    """Base of tasks with an image generator.

    Args:
        generator: noise (and labels) to images.
        discriminator: images to real-or-generated scores.
        image_size: side of the images in pixels; null takes the data's, 32 where there is none.
        channels: number of image channels.
        latent: dimension of the noise.
        classes: class names in order of their index; null takes the data's.
        condition: conditioning on labels: `embedding`, `projection` or `auxiliary`; null ignores them.

    Attributes: `fixed_noise` (64, latent) is the same throughout a run; `averaged` is the EMA of the
    generator, null without.
    """

    generative = True

    def __init__(
        self,
        generator: GeneratorFactory = DCGANGenerator,
        discriminator: DiscriminatorFactory = DCGANDiscriminator,
        image_size: int | None = None,
        channels: int = 3,
        latent: int = 128,
        classes: list[str] | None = None,
        condition: Condition | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if latent < 1:
            raise ConfigError(f"model.latent is {latent}, but an image is made of at least 1 number")
        if condition and not classes:
            raise ConfigError(
                f"model.condition is {condition}, but the data names no classes: choose labeled data (--data), or "
                f"leave model.condition at null"
            )
        self.spec = ImageSpec(channels, image_size or 32, len(classes) if condition else 0, condition)
        self.generator, self.discriminator = generator(self.spec, latent), discriminator(self.spec)
        for network in (self.generator, self.discriminator):
            network.to(memory_format=torch.channels_last)
        self.averaged = deepcopy(self.generator).requires_grad_(False).eval() if self.ema_decay else None
        self.latent, self.classes, self.condition = latent, classes, condition
        self.required_keys = ("image", "label") if condition else ("image",)
        noise = torch.randn(FIXED, latent, generator=torch.Generator().manual_seed(0))
        self.register_buffer("fixed_noise", noise)

    def setup(self, stage: str) -> None:
        network, starting = self.discriminator, stage == "fit" and not self.trainer.ckpt_path
        if starting and isinstance(network, BackboneDiscriminator) and network.weights:
            rank_zero_info(load_backbone(network.backbone, network.weights))
        super().setup(stage)

    def _check(self, batch: Batch) -> None:
        if not self.trainer.predicting:  # only their number is needed
            super()._check(batch)

    def generate(self, count: int, generator: torch.Generator | None = None, label: Tensor | None = None) -> Tensor:
        """Generate images float32 (count, C, H, W) in -1..1, by the EMA of the generator where there is one.

        Args:
            count: number of images.
            generator: random generator of the noise; null takes torch's own.
            label: classes int64 (count,) of a conditional generator; null takes each class in turn.
        """
        device = generator.device if generator else self.device
        return self.images(torch.randn(count, self.latent, generator=generator, device=device), label)

    @torch.no_grad()
    def images(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """Generate images of given noise (N, latent), as `generate`.

        Raises:
            ConfigError: labels for a generator that knows none.
        """
        if label is not None and not self.condition:
            raise ConfigError("this generator was trained without labels: set --model.condition and train it again")
        if self.condition and label is None:
            label = torch.arange(len(noise)) % len(self.classes)
        network = self.averaged or self.generator
        training = network.training
        network.eval()
        image = network(noise.to(self.device), None if label is None else label.to(self.device)).float()
        network.train(training)
        return image

    def scaled(self, image: Tensor) -> Tensor:
        """Images uint8, or floats in 0..1, (B, C, H, W) to float32 in -1..1.

        Raises:
            ConfigError: their channels or size differ from the generator's.
            DataError: floats beyond 0..1, or another type.
        """
        scale, spec = pixel_scale(image), self.spec
        if (image.shape[1], spec.channels) == (3, 1):
            image = with_channels(image, 1)
        _, channels, height, width = image.shape
        if channels != spec.channels:
            raise ConfigError(
                f"the data gives images of {channels} channel(s), but model.channels is {spec.channels}: "
                f"set --model.channels {channels}"
            )
        if (height, width) != (spec.size, spec.size):
            raise ConfigError(
                f"the data gives images of {height} x {width} pixels, but the networks are made for "
                f"{spec.size}: set --data.image_size {spec.size}"
            )
        return image.float().div(scale / 2).sub_(1)

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        prediction = self.make(batch, self.turn(index), self.data.seed)
        prediction.pop("image")
        return prediction

    def make(self, batch: Batch, index: int, seed: int) -> Prediction:
        """Generate an image per sample of batch number `index` of a split, of noise keyed by seed and position."""
        count = len(batch["id"])
        first = index * (self.data.batch_size or count)
        places = range(first, first + count)
        noise = keyed_noise([(seed, place) for place in places], self.latent).to(self.device)
        label = None
        if self.condition:
            label = batch["label"] if "label" in batch else torch.tensor(places, device=self.device) % len(self.classes)
        image = self.images(noise, label)
        bytes_ = ((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return {"image": image, "generated": bytes_, "noise": noise} | ({"label": label} if self.condition else {})

    def train(self, mode: bool = True) -> "Generation":
        super().train(mode)
        if self.averaged is not None:
            self.averaged.eval()
        return self

    def step_generator(self) -> None:
        super().step_generator()
        if self.averaged is not None:
            share = share_at(self.ema_decay, self.trainer.global_step)
            follow(_tensors(self.averaged), _tensors(self.generator), share)


def _tensors(network: Generator) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
