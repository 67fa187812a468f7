"""Memory and speed of training with LoRA, beside training of all weights.

A classification learns random images that are always the same, with AdamW and in the precision that `cli.py` chooses;
every measurement is a process of its own. The peak of memory is that of weights, activations, gradients and optimizer
state: on a GPU what torch has allocated, on a CPU the largest resident set above that of the libraries. What LoRA saves
are gradients and optimizer state, not activations: the smaller the batch and the larger the network, the more.

    python -m benchmarks.lora --backbone vit_small_patch16_224 --batch_size 4
"""

from typing import Any, NamedTuple

import torch

from benchmarks.memory import RESET, resident
from benchmarks.precision import autocast, automatic
from benchmarks.report import Comparison, apart, compare, in_pairs, parser, seconds
from modules.backbones.lora import LoRA
from modules.training.optim import Optim
from tasks import Classification

WARM_UP = 2
MIB = 2**20
ROWS = {
    "speed": ("training", "images/CPU s"),
    "peak": ("peak memory", "MiB"),
    "state": ("optimizer state", "MiB"),
    "trained": ("trained", "parameters"),
}


class Cost(NamedTuple):
    """Images per second of training, peak of memory and optimizer state in MiB, number of trained parameters."""

    speed: float
    peak: float
    state: float
    trained: float


def cost(backbone: str, rank: int, norms: bool, image_size: int, batch_size: int, steps: int) -> Cost:
    """Cost of training steps with adapters of a rank, 0 for all weights. For a process of its own."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = automatic("gpu" if device.type == "cuda" else "cpu")
    before = _reset(device)
    task = Classification([str(i) for i in range(10)], backbone=backbone, lora=LoRA(rank, norms=norms))
    task = task.to(device).train()
    optimizer, _ = Optim(lr=1e-4).build(task, task.backbone.net, WARM_UP + steps)
    image = torch.randn(batch_size, 3, image_size, image_size, device=device).to(memory_format=torch.channels_last)
    label = torch.arange(batch_size, device=device) % 10
    began = 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            began = seconds(device)
        with autocast(precision, device):
            loss = task.head.loss(task(image), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    speed = steps * batch_size / (seconds(device) - began)
    states = [value for state in optimizer.state.values() for value in state.values() if value.ndim]
    trained = sum(p.numel() for p in task.parameters() if p.requires_grad)
    return Cost(speed, (_peak(device) - before) / MIB, sum(value.nbytes for value in states) / MIB, trained)


def _reset(device: torch.device) -> int:
    """Begin to watch the peak; returns the bytes in use before it."""
    if device.type == "cuda":
        return 0
    RESET.write_text("5")
    return resident("VmRSS")


def _peak(device: torch.device) -> int:
    """Most bytes in use since then."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resident("VmHWM")


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--backbone", default="vit_tiny_patch16_224")
    options.add_argument("--rank", type=int, default=8)
    options.add_argument("--norms", choices=("true", "false"), default="true", help="train normalization layers too")
    options.add_argument("--image_size", type=int, default=224)
    options.add_argument("--batch_size", type=int, default=16)
    options.add_argument("--steps", type=int, default=10, help="steps that count")
    options.add_argument("--repeats", type=int, default=3, help="pairs of runs")
    args = options.parse_args(argv)
    if not (torch.cuda.is_available() or RESET.exists()):
        options.error("without a GPU the largest resident set is read, which only Linux keeps: run it on Linux")
    settings = args.norms == "true", args.image_size, args.batch_size, args.steps
    sides = in_pairs(
        lambda: apart(cost, args.backbone, args.rank, *settings),
        lambda: apart(cost, args.backbone, 0, *settings),
        args.repeats,
    )
    rows = [Comparison(*ROWS[name], *([getattr(one, name) for one in side] for side in sides)) for name in Cost._fields]
    images = f"{args.batch_size} images of {args.image_size} pixels"
    title = f"LoRA of rank {args.rank}, {args.backbone}, {images}"
    return compare("lora", title, rows, "all weights", args.json, rank=args.rank, steps=args.steps)


if __name__ == "__main__":
    main()
