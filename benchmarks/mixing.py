"""Images per second of training steps that mix their batches, beside steps that do not.

Forward and backward pass of `Classification` on random images, without an optimizer, in seconds of the process. The
exact solver of PuzzleMix runs on the CPU, and its saliency is a second pass by definition, so both have no mark.

    python -m benchmarks.mixing --backbone resnet10t
"""

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.report import Comparison, compare, in_pairs, parser, seconds
from modules.training.mixing import Mixing
from modules.training.mixing.mixer import gradient_saliency
from tasks import Classification

MARK = ">= 0.909"  # of the images per second: a step costs at most 10 % more
KINDS = {
    "MixUp": ({"mixup": 1.0}, MARK),
    "CutMix": ({"cutmix": 1.0}, MARK),
    "manifold mixup": ({"mixing": Mixing(manifold_mixup=1.0)}, MARK),
    "PatchUp, hard": ({"mixing": Mixing(patchup_hard=0.5, patchup_block=3)}, MARK),
    "PatchUp, soft": ({"mixing": Mixing(patchup_soft=0.75, patchup_block=3)}, MARK),
    "PuzzleMix, independent cells": ({"mixing": Mixing(puzzlemix=1.0, puzzlemix_solver="independent")}, ""),
    "PuzzleMix, exact": ({"mixing": Mixing(puzzlemix=1.0)}, ""),
}


def speed(task: Classification, image: torch.Tensor, label: torch.Tensor, steps: int) -> float:
    """Images per second of forward and backward passes, mixed as the task's settings say."""

    def saliency(image: torch.Tensor) -> torch.Tensor:
        return gradient_saliency(lambda changed: task.head.loss(task(changed), label), image)

    began = seconds(image.device)
    for step in range(steps):
        mix = task.mixer.draw((0, 0, step), saliency)
        mixed = mix.on_input(image)
        with mix.inside(task.backbone.net):
            logits = task(mixed)
        task.head.loss(logits, mix.labels(label, 10)).backward()
        task.zero_grad()
    return steps * len(image) / (seconds(image.device) - began)


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--backbone", default="resnet10t")
    options.add_argument("--image_size", type=int, default=64)
    options.add_argument("--batch_size", type=int, default=64)
    options.add_argument("--steps", type=int, default=6)
    options.add_argument("--repeats", type=int, default=5)
    chosen, rows = options.parse_args(arguments), []
    device = "cuda" if torch.cuda.is_available() else "cpu"
    side, count = chosen.image_size, chosen.batch_size
    image = torch.randn(count, 3, side, side, device=device).to(memory_format=torch.channels_last)
    label = torch.randint(0, 10, (count,), device=device)

    def run(settings: dict) -> Callable[[], float]:
        task = Classification([str(i) for i in range(10)], backbone=chosen.backbone, **settings).to(device).train()
        speed(task, image, label, 1)
        return partial(speed, task, image, label, chosen.steps)

    plain = run({})
    for name, (settings, mark) in KINDS.items():
        ours, peer = in_pairs(run(settings), plain, chosen.repeats)
        rows.append(Comparison(name, "images/s", ours, peer, mark))
    title = f"Training steps of {chosen.backbone} on {count} images of {side} pixels, {device}"
    compare("mixing", title, rows, "without mixing", chosen.json)


if __name__ == "__main__":
    main()
