"""Interfaces of generators and discriminators, and conditioning on class labels."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import spectral_norm

from modules.contracts import ConfigError, pixel_scale, with_channels

HIDDEN = 256  # features that meet the embedding of a class
BASES = (4, 5, 6, 7)  # sides of the smallest map of all networks here

Condition = Literal["embedding", "projection", "auxiliary"]
"""Conditioning on class labels. `embedding`: both networks get an embedding of the class (Mirza and Osindero 2014).
`projection`: the generator by conditional batch norm, the discriminator by an inner product (Miyato and Koyama 2018).
`auxiliary`: the generator gets an embedding, the discriminator also predicts the class (Odena et al. 2017)."""


class ImageSpec(NamedTuple):
    """Shape of the generated images, classes and conditioning.

    Args:
        channels: of the images.
        size: their side in pixels.
        classes: number of classes; 0 without labels.
        condition: conditioning on labels; null without labels.
    """

    channels: int
    size: int
    classes: int = 0
    condition: Condition | None = None

    @classmethod
    def of(cls, channels: int, size: int, classes: int, condition: Condition | None) -> "ImageSpec":
        """Images of data with that many classes, which do not matter without `condition`.

        Raises:
            ConfigError: a condition without classes.
        """
        if condition and not classes:
            raise ConfigError(
                f"model.condition is {condition}, but the data names no classes: choose labeled data (--data), or "
                f"leave model.condition at null"
            )
        return cls(channels, size, classes if condition else 0, condition)

    def doublings(self, network: str) -> tuple[int, int]:
        """Side of the smallest map, 4 to 7, and how often it doubles to become the image: at least twice.

        Raises:
            ConfigError: `network` cannot make images of this size; names those it can.
        """
        sizes = sorted(base << times for base in BASES for times in range(2, 9))
        if self.size not in sizes:
            below, above = [s for s in sizes if s < self.size][-1:], [s for s in sizes if s > self.size][:1]
            near = " or ".join(map(str, below + above))
            some = ", ".join(str(s) for s in sizes if 28 <= s <= 128)
            raise ConfigError(
                f"{network} cannot make images of {self.size} pixels: set --data.image_size {near} (it makes 4 to 7 "
                f"times a power of two, such as {some})"
            )
        times = max(t for t in range(2, 9) if self.size % (1 << t) == 0 and self.size >> t in BASES)
        return self.size >> times, times

    def scale(self, image: Tensor) -> Tensor:
        """Images uint8, or floats in 0..1, (B, C, H, W) to float32 in -1..1.

        Raises:
            ConfigError: their channels or size differ from these.
            DataError: floats beyond 0..1, or another type.
        """
        white = pixel_scale(image)
        if (image.shape[1], self.channels) == (3, 1):
            image = with_channels(image, 1)
        _, channels, height, width = image.shape
        if channels != self.channels:
            raise ConfigError(
                f"the data gives images of {channels} channel(s), but model.channels is {self.channels}: "
                f"set --model.channels {channels}"
            )
        if (height, width) != (self.size, self.size):
            raise ConfigError(
                f"the data gives images of {height} x {width} pixels, but the networks are made for "
                f"{self.size}: set --data.image_size {self.size}"
            )
        return image.float().div(white / 2).sub_(1)


class DiscriminatorOutput(NamedTuple):
    """Output of a discriminator.

    Args:
    score: (B,), higher for real.
    logits: (B, classes) of an auxiliary classifier; null without one.
    """

    score: Tensor
    logits: Tensor | None = None


class Generator(nn.Module):
    """Noise to images.

    Args:
        spec: image shape and classes.
        latent: dimensions of the noise of each image.

    Attributes: `inputs` is the width of `code`, of noise and label.

    Raises:
        ConfigError: `latent` is below 1.
    """

    def __init__(self, spec: ImageSpec, latent: int):
        super().__init__()
        if latent < 1:
            raise ConfigError(f"model.latent is {latent}, but an image is made of at least 1 number")
        embedded = spec.condition in ("embedding", "auxiliary")
        self.embedding = nn.Embedding(spec.classes, latent) if embedded else None
        self.inputs = latent * (1 + embedded)

    def code(self, noise: Tensor, label: Tensor | None) -> Tensor:
        """Noise (B, latent) and the embeddings of labels (B,), where there are some, side by side."""
        return noise if self.embedding is None else torch.cat([noise, self.embedding(label)], 1)

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """Noise (B, latent), and labels (B,) if it is conditional, to images (B, C, H, W) in -1..1."""
        raise NotImplementedError

    @torch.no_grad()
    def sample(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """Images float32 (B, C, H, W) in -1..1, as `forward` in eval mode."""
        training = self.training
        self.eval()
        image = self(noise, label).float()
        self.train(training)
        return image


def to_bytes(image: Tensor) -> Tensor:
    """Images float (B, C, H, W) in -1..1 to uint8."""
    return ((image.float() + 1) * 127.5).round_().clamp_(0, 255).to(torch.uint8)


class Discriminator(nn.Module):
    """Images to a score of each. A subclass computes features.

    Args:
        spec: image shape and classes.
        width: number of features.
    """

    def __init__(self, spec: ImageSpec, width: int):
        super().__init__()
        self.condition = condition = spec.condition
        self.score = nn.Linear(HIDDEN if condition == "embedding" else width, 1)
        self.embedding = self.joint = self.classifier = None
        if condition == "projection":
            self.embedding = nn.Embedding(spec.classes, width)
        elif condition == "embedding":
            self.embedding, self.joint = nn.Embedding(spec.classes, HIDDEN), nn.Linear(width + HIDDEN, HIDDEN)
        elif condition == "auxiliary":
            self.classifier = nn.Linear(width, spec.classes)

    @property
    def mixes(self) -> bool:
        """True if the score of an image depends on the rest of the batch, as with batch norm."""
        return any(isinstance(module, _BatchNorm) for module in self.modules())

    def features(self, image: Tensor) -> Tensor:
        """Images (B, C, H, W) to (B, width)."""
        raise NotImplementedError

    def forward(self, image: Tensor, label: Tensor | None = None) -> DiscriminatorOutput:
        """Images (B, C, H, W) in -1..1, and labels (B,) if it is conditional, to the score of each."""
        features = self.features(image)
        if self.joint is not None:
            features = functional.leaky_relu(self.joint(torch.cat([features, self.embedding(label)], 1)), 0.2)
        score = self.score(features).squeeze(1)
        if self.condition == "projection":
            score = score + (self.embedding(label) * features).sum(1)
        return DiscriminatorOutput(score, None if self.classifier is None else self.classifier(features))

    def compare(
        self, real: Tensor, fake: Tensor, label: Tensor | None = None
    ) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
        """Outputs on real and on generated images, in one pass unless batch norm would mix them."""
        if self.mixes:
            return self(real, label), self(fake, label)
        twice, count = None if label is None else torch.cat([label, label]), len(real)
        score, logits = self(torch.cat([real, fake.to(real.dtype)]), twice)
        parts = slice(None, count), slice(count, None)
        return tuple(DiscriminatorOutput(score[part], None if logits is None else logits[part]) for part in parts)


GeneratorFactory = Callable[[ImageSpec, int], Generator]  # int: numbers of noise
DiscriminatorFactory = Callable[[ImageSpec], Discriminator]


def constrain(module: nn.Module) -> None:
    """Spectral norm (Miyato et al. 2018) on every convolution, linear layer and embedding: largest singular value 1."""
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            spectral_norm(layer)
