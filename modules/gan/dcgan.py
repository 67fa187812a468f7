"""DCGAN: strided convolutions, batch norm, no fully connected hidden layers (Radford et al. 2016)."""

from torch import Tensor, nn
from torch.nn import functional

from modules.contracts import check_sizes
from modules.gan.contracts import Discriminator, Generator, ImageSpec, constrain
from modules.gan.norms import ConditionalBatchNorm, Norm, norm

WIDEST = 8  # times the width of the finest maps


class DCGANGenerator(Generator):
    """Transposed convolutions from a map of 4 to 7 pixels; each doubles the side.

    Args:
        spec: image shape and classes.
        latent: numbers of noise.
        width: channels of the finest map; each coarser one has twice as many, up to 8 times.

    Raises:
        ConfigError: a size that it cannot make.
    """

    def __init__(self, spec: ImageSpec, latent: int, width: int = 64):
        super().__init__(spec, latent)
        check_sizes("generator", width=width)
        self.base, times = spec.doublings("DCGANGenerator")
        widths = [width * min(WIDEST, 2**i) for i in reversed(range(times))]
        classes = spec.classes if spec.condition == "projection" else 0
        self.first = nn.Linear(self.inputs, widths[0] * self.base**2, bias=False)
        self.norms = nn.ModuleList(ConditionalBatchNorm(w, classes) for w in widths)
        outputs = [*widths[1:], spec.channels]
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, 2, 1, bias=b is outputs[-1]) for a, b in zip(widths, outputs, strict=True)
        )
        initialize(self)

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        x = self.first(self.code(noise, label)).unflatten(1, (-1, self.base, self.base))
        for rescale, up in zip(self.norms, self.ups, strict=True):
            x = up(functional.relu(rescale(x, label)))
        return x.tanh()


class DCGANDiscriminator(Discriminator):
    """Strided convolutions down to a map of 4 to 7 pixels.

    Args:
        spec: image shape and classes.
        width: channels of the finest map; each coarser one has twice as many, up to 8 times.
        norm: between the layers, but not after the first; a gradient penalty goes with any but `batch`.
        spectral: spectral norm on every layer.

    Raises:
        ConfigError: an unsupported image size.
    """

    def __init__(self, spec: ImageSpec, width: int = 64, norm: Norm = "batch", spectral: bool = False):
        check_sizes("discriminator", width=width)
        base, times = spec.doublings("DCGANDiscriminator")
        widths = [width * min(WIDEST, 2**i) for i in range(times)]
        super().__init__(spec, widths[-1] * base**2)
        inputs = [spec.channels, *widths[:-1]]
        self.blocks = nn.Sequential(
            *(self._block(a, b, norm if i else "none") for i, (a, b) in enumerate(zip(inputs, widths, strict=True)))
        )
        initialize(self)
        if spectral:
            constrain(self)

    @staticmethod
    def _block(inputs: int, outputs: int, kind: Norm) -> nn.Sequential:
        layers = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=kind == "none"), norm(kind, outputs)
        return nn.Sequential(*layers, nn.LeakyReLU(0.2, inplace=True))

    def features(self, image: Tensor) -> Tensor:
        return self.blocks(image).flatten(1)


def initialize(network: nn.Module) -> None:
    """Weights from N(0, 0.02), as the paper has them; norms keep their scale of 1."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
