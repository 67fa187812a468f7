"""DeepDream (Mordvintsev et al. 2015): an image changes until a layer sees more of what it sees in it already."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from modules.contracts import Backbone, ConfigError, check_range
from modules.insight.ascent import shifted
from modules.insight.layers import differentiable, find_layer, leaf, recorded


@dataclass(frozen=True)
class Dream:
    """Settings of a dream.

    Args:
        octaves: number of sizes, from coarse to fine.
        octave_scale: factor from one size to the next, above 1.
        steps: steps of gradient ascent at each size.
        lr: mean change of a pixel per step, in values of 0..1.
        jitter: largest random shift of the image before a step, in pixels.
    """

    octaves: int = 4
    octave_scale: float = 1.4
    steps: int = 10
    lr: float = 0.01
    jitter: int = 16

    def check(self) -> None:
        """Check the settings, named as options.

        Raises:
            ConfigError: one is out of its range.
        """
        for name, low in {"octaves": 1, "octave_scale": 1.05, "steps": 1, "lr": 1e-6, "jitter": 0}.items():
            check_range(f"--{name}", getattr(self, name), low)


class Activation:
    """Output of a layer of a backbone, and the gradient by which it grows.

    Args:
        backbone: frozen, for images.
        layer: name of a layer of its `net`; null takes the level of its pyramid before the last.
        channel: the only channel that counts; null takes all.

    Raises:
        ConfigError: no such layer; names the nearest.
    """

    def __init__(self, backbone: Backbone, layer: str | None = None, channel: int | None = None):
        if backbone.temporal:
            raise ConfigError(f"{backbone.name} takes clips: dreams are of images, so choose another network")
        self.backbone, self.channel, self.name = backbone, channel, layer
        self.layer = (
            None if layer is None else find_layer(backbone.net, layer.removeprefix("backbone.").removeprefix("net."))
        )

    def __call__(self, image: Tensor) -> Tensor:
        """Activations of an image (1, C, H, W) in 0..1: of any shape, channels first or, of tokens, last.

        Raises:
            ConfigError: the layer has no such channel, or takes no part in the maps.
        """
        seen = self.backbone.standardize(image)
        if self.layer is None:
            maps = self.backbone(seen)
            return self._channel(maps[max(len(maps) - 2, 0)])
        with recorded({"layer": self.layer}) as outputs:
            self.backbone(seen)
        found = outputs.get("layer")
        if not isinstance(found, Tensor):
            said = "gives no tensor" if outputs else "takes no part in the maps of the backbone"
            raise ConfigError(f"--layer {self.name} {said}: choose another layer")
        return self._channel(found)

    def gradient(self, image: Tensor, jitter: int = 0) -> tuple[Tensor, float]:
        """Gradient at an image whose gradient at the layer is the activation itself, and the mean squared activation.

        It is that of half the sum of squared activations.

        Args:
            image: (1, C, H, W) in 0..1.
            jitter: largest random shift, in pixels, by which the network sees it.
        """
        with differentiable(self.backbone):
            at = leaf(image)
            found = self(shifted(at, jitter)).float()
            (gradient,) = torch.autograd.grad(found, at, grad_outputs=found.detach())
        return gradient, found.square().mean().item()

    def _channel(self, found: Tensor) -> Tensor:
        if self.channel is None:
            return found
        axis = 1 if found.ndim in (2, 4) else found.ndim - 1
        if not 0 <= self.channel < found.shape[axis]:
            raise ConfigError(f"--channel is {self.channel}, but the layer has channels 0 to {found.shape[axis] - 1}")
        return found.select(axis, self.channel)


def dream(
    activation: Activation,
    image: Tensor,
    settings: Dream = Dream(),
    smallest: int = 1,
    each: Callable[[int, float], None] | None = None,
) -> Tensor:
    """Let a layer dream of an image, size by size: details of a size are enlarged and refined in the next.

    Args:
        activation: what grows.
        image: (1, C, H, W) in 0..1.
        settings: of the ascent.
        smallest: shorter side in pixels below which there is no size.
        each: called after each size with its number and the mean squared activation.

    Returns:
        image of the same size, in 0..1.
    """
    image, detail = image.detach(), torch.zeros_like(image[..., :1, :1])
    for number, size in enumerate(sizes(image.shape[-2:], settings, smallest)):
        base = interpolate(image, size, mode="bilinear", antialias=True)
        made = base + interpolate(detail, size, mode="bilinear")
        score = 0.0
        for _ in range(settings.steps):
            gradient, score = activation.gradient(made, settings.jitter)
            made = (made + settings.lr * gradient / gradient.abs().mean().clamp(min=1e-12)).clamp(0, 1)
        detail = made - base
        if each is not None:
            each(number, score)
    return (image + detail).clamp(0, 1)


def sizes(size: tuple[int, ...], settings: Dream, smallest: int) -> list[tuple[int, int]]:
    """Heights and widths of the octaves, coarse to fine; the last is `size`."""
    factors = [settings.octave_scale**-octave for octave in reversed(range(settings.octaves))]
    found = [(round(size[0] * factor), round(size[1] * factor)) for factor in factors]
    return [one for one in found if min(one) >= smallest] or [(size[0], size[1])]


def zoomed(image: Tensor, factor: float) -> Tensor:
    """The middle of an image (1, C, H, W), enlarged by a factor of 1 or more to its size."""
    height, width = image.shape[-2:]
    high, wide = max(1, round(height / factor)), max(1, round(width / factor))
    top, left = (height - high) // 2, (width - wide) // 2
    return interpolate(image[..., top : top + high, left : left + wide], (height, width), mode="bilinear")


def film(
    activation: Activation, image: Tensor, frames: int, zoom: float, settings: Dream, smallest: int = 1
) -> Iterator[Tensor]:
    """Frames (1, C, H, W) in 0..1 of a dream that goes deeper: each is a dream of the middle of the one before."""
    for _ in range(frames):
        image = dream(activation, image, settings, smallest)
        yield image
        image = zoomed(image, zoom)
