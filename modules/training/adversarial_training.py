"""Adversarial training: each batch is attacked by the network that learns from it (Madry et al. 2018)."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal
from zlib import crc32

import torch
from torch import Tensor, nn

from modules.contracts import Backbone, check_sizes
from modules.insight.attacks import Loss, Network, parse_eps, pgd, random_start
from modules.training.modes import evaluation_mode

Method = Literal["none", "fgsm", "pgd"]


class AdversarialTraining:
    """Attack on training batches, in pixels 0..1, by the largest change of a pixel.

    `pgd` takes steps of 2.5 eps / steps; `fgsm` is one step of 1.25 eps (Wong et al. 2020). Both start at a random
    place, a function of the sample and the epoch. The attack sees the network in evaluation mode: its steps would
    otherwise spoil the statistics of batch norm, and attacks are weaker against them (Pang et al. 2021).

    Args:
        method: of the attack.
        eps: largest change of a pixel, as a number or a fraction such as 8/255.
        steps: of `pgd`.

    Raises:
        ConfigError: eps is no number above 0 up to 1, or there are no steps.
    """

    def __init__(self, method: Method, eps: str | float, steps: int):
        self.eps = parse_eps("model.adversarial_eps", eps)
        check_sizes("model", adversarial_steps=steps)
        self.method, self.steps = method, 1 if method == "fgsm" else steps
        self.step_size = (1.25 if method == "fgsm" else 2.5 / steps) * self.eps

    @property
    def cost(self) -> str:
        """Cost of a training step, in words."""
        return f"{self.steps + 1} times the passes of ordinary training, {self.steps} of them for the attack"

    def attack(
        self, task: nn.Module, backbone: Backbone, logits: Network, image: Tensor, label: Tensor, loss: Loss, keys: list
    ) -> Tensor:
        """Adversarial images in place of a batch, normalized as they are.

        Args:
            task: put into evaluation mode for the attack.
            backbone: whose normalization the images have.
            logits: normalized images to logits.
            image: normalized (B, C, H, W).
            label: int64 (B,), or float (B, C) as mixed.
            loss: sum over the samples.
            keys: B parts of the random start's key.
        """
        kind = image.device.type
        # no scaler watches these gradients, which float16 would often round to 0
        half = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
        pixels = backbone.restore(image.float()).clamp(0, 1)
        start = random_start(pixels, self.eps, "linf", sample_keys(keys))

        def network(pixels: Tensor) -> Tensor:
            return logits(backbone.standardize(pixels).to(image.dtype))

        with evaluation_mode(task), torch.autocast(kind, enabled=False) if half else nullcontext():
            found = pgd(network, pixels, label, self.eps, self.steps, self.step_size, "linf", start, loss=loss)
        return backbone.standardize(found).to(image.dtype)


def sample_keys(parts: Sequence[object]) -> list[int]:
    """Whole numbers 0..2^32 - 1 from the texts of any values, the same on every machine."""
    return [crc32(str(part).encode()) for part in parts]
