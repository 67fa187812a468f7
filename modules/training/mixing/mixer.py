"""Mixing of training batches, at the image or behind a layer of the backbone, by one hook."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from modules.backbones.layers import INPUT, trace
from modules.backbones.size import published
from modules.contracts import Backbone, ConfigError
from modules.training.mixing.layers import layer_error
from modules.training.mixing.operations import (
    cutmix,
    cutmix_box,
    mixed_labels,
    mixup,
    patchup,
    patchup_mask,
    patchup_rate,
)
from modules.training.mixing.puzzle import puzzle_mix
from modules.training.mixing.settings import Mixing

Operation = Callable[[Tensor], tuple[Tensor, Tensor | float | None]]
"""Features of a batch to mixed ones, and the share of each sample that is its own."""


@dataclass
class Mix:
    """Mixing of one batch.

    Args:
        layer: whose output is mixed, by its name in the network; `input` is the image.
        operation: mixes it.
        share: of each sample that is its own, one or (B,); null before anything is mixed.
    """

    layer: str
    operation: Operation
    share: Tensor | float | None = None

    def on_input(self, image: Tensor) -> Tensor:
        """Mixed images, where images are mixed."""
        return self._apply(image) if self.layer == INPUT else image

    @contextmanager
    def inside(self, net: nn.Module) -> Iterator[None]:
        """Mix the output of the layer in every pass of the block, where features are mixed."""
        if self.layer == INPUT:
            yield
            return
        handle = net.get_submodule(self.layer).register_forward_hook(lambda _, inputs, output: self._apply(output))
        try:
            yield
        finally:
            handle.remove()

    def labels(self, label: Tensor, classes: int) -> Tensor:
        """Labels of what was mixed since the last call; those given if nothing was."""
        share, self.share = self.share, None
        return label if share is None else mixed_labels(label, share, classes)

    def _apply(self, x: Tensor) -> Tensor:
        x, self.share = self.operation(x)
        return x


UNMIXED = Mix(INPUT, lambda x: (x, None))


class Mixer:
    """Draws how each batch is mixed: a function of a key alone, so that all processes draw the same.

    Args:
        mixup: MixUp's alpha; 0 is off.
        cutmix: CutMix's alpha; 0 is off.
        settings: everything else.
        backbone: whose layers are mixed.

    Attributes:
        layers: names of the layers that are drawn from.

    Raises:
        ConfigError: a layer that cannot be mixed.
    """

    def __init__(self, mixup: float, cutmix: float, settings: Mixing, backbone: Backbone):
        self.settings, self.alphas = settings, {"mixup": mixup, "cutmix": cutmix}
        self.alphas |= {name: getattr(settings, name) for name in ("manifold_mixup", "puzzlemix")}
        kinds = self.alphas | {"patchup_hard": settings.patchup_hard, "patchup_soft": settings.patchup_soft}
        self.kinds = [name for name, value in kinds.items() if value]
        self.layers = list(settings.layers or [])
        if settings.hidden:
            if not self.layers:
                _, maps = trace(backbone, *published(backbone))
                self.layers = [INPUT, *maps[:-1]]
            self.check(backbone, *published(backbone), patchup=False)

    def check(self, backbone: Backbone, height: int, width: int, patchup: bool = True) -> None:
        """Check that all layers can be mixed in images of `height` x `width` pixels.

        Raises:
            ConfigError: one that cannot.
        """
        if not self.settings.hidden:
            return
        found, _ = trace(backbone, height, width)
        block = self.settings.patchup_block if patchup and self.settings.patchup else None
        for name in self.layers:
            if error := layer_error(name, found, backbone, block):
                raise error

    def draw(self, key: tuple[int, ...], saliency: Callable[[Tensor], Tensor]) -> Mix:
        """The mixing of a batch; one that changes nothing, if all are off.

        Args:
            key: of the batch, such as (seed, epoch, batch).
            saliency: of images (B, C, H, W) as (B, H, W), where PuzzleMix needs it.
        """
        if not self.kinds:
            return UNMIXED
        random = np.random.default_rng(key)
        kind = self.kinds[random.integers(len(self.kinds))]
        layer = self.layers[random.integers(len(self.layers))] if self.layers else INPUT
        if kind in ("patchup_hard", "patchup_soft"):
            alpha = self.settings.patchup_alpha
            share = float(random.beta(alpha, alpha)) if kind == "patchup_soft" else 0.0
            return Mix(layer, partial(self._patchup, kind, int(random.integers(2**62)), share))
        share = float(random.beta(self.alphas[kind], self.alphas[kind]))
        if kind == "puzzlemix":
            solver = self.settings.puzzlemix_solver
            cells = 2 ** int(random.integers(1, 5))
            return Mix(INPUT, lambda x: puzzle_mix(x, saliency(x), cells, share, solver))
        if kind == "cutmix":
            y, x = random.random(2)
            return Mix(INPUT, lambda image: cutmix(image, cutmix_box(image.shape[-2], image.shape[-1], share, y, x)))
        return Mix(layer if kind == "manifold_mixup" else INPUT, lambda x: (mixup(x, share), share))

    def _patchup(self, kind: str, seed: int, share: float, x: Tensor) -> tuple[Tensor, Tensor]:
        probability, block = getattr(self.settings, kind), self.settings.patchup_block
        if x.ndim != 4 or min(x.shape[2:]) < block:
            raise ConfigError(
                f"model.mixing.patchup_block is {block}, but a layer gives {tuple(x.shape)}: set it to less, or name "
                f"other layers in model.mixing.layers"
            )
        uniform = torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(seed))
        centers = (uniform < patchup_rate(probability, block, *x.shape[2:])).to(x.device)
        return patchup(x, patchup_mask(centers, block), share)


def gradient_saliency(loss: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Root mean square over the channels of the gradient of a loss at images (B, C, H, W), as (B, H, W)."""
    with torch.enable_grad():
        image = image.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(image), image)
    return gradient.float().square().mean(1).sqrt()
