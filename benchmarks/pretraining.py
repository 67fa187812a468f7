"""Images per second of SimCLR: `cli.py fit` against lightly's building blocks in a plain loop.

Both read the same JPEG files with as many loader processes, make two views (crop, flip, color jitter, gray), and train
timm's test_resnet with a 3x3 stem, a projection to 128 dimensions, NT-Xent at T 0.2 and AdamW, in the precision that
`cli.py` chooses here and channels_last. The peer's transform, data set, projection head and loss are lightly's; its
loop has no logging and no checkpoints. Counted are the steps after the warm-up, with the time they wait for views. Each
run is a process of its own, because `cli.py` also decides how the process keeps memory.
"""

import time
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.overhead import Stopwatch, surroundings
from benchmarks.precision import autocast, automatic
from benchmarks.report import Comparison, apart, compare, in_pairs, parser
from commands.fit import CLI
from commands.silence import silence_messages
from modules.backbones import Timm

MARK = ">= 1.3"
WARM_UP = 5


def ours(root: Path, size: int, batch: int, steps: int, workers: int) -> float:
    """Images per second of `cli.py fit --config tasks/simclr.yaml`."""
    with TemporaryDirectory() as folder, surroundings():
        typed = {
            "--config": str(Path(__file__).parents[1] / "tasks" / "simclr.yaml"),
            "--run_dir": f"{folder}/run",
            "--data": "ImageFolder",
            "--data.root": str(root),
            "--data.image_size": size,
            "--data.augment": "simclr",
            "--data.val_split": 0,
            "--data.batch_size": batch,
            "--data.workers": workers,
            "--model.small_images": "true",
            "--trainer.max_steps": WARM_UP + steps,
            "--trainer.limit_val_batches": 0,
            "--trainer.limit_test_batches": 0,
            "--trainer.callbacks": "benchmarks.overhead.Stopwatch",
        }
        silence_messages()
        run = CLI(["fit", *(f"{name}={value}" for name, value in typed.items())])
    ends = next(c for c in run.trainer.callbacks if type(c).__name__ == "Stopwatch").ends
    return batch * steps / (ends[WARM_UP + steps - 1][0] - ends[WARM_UP - 1][0])


def lightly(root: Path, size: int, batch: int, steps: int, workers: int) -> float:
    """Images per second of lightly's data set, transform, head and loss in a plain loop."""
    from lightly.data import LightlyDataset
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform

    torch.manual_seed(0)
    transform = SimCLRTransform(input_size=size, cj_strength=0.5, min_scale=0.2, gaussian_blur=0.5 * (size > 64))
    loader = DataLoader(
        LightlyDataset(str(root / "train"), transform),
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    backbone = Timm("test_resnet", small_images=True).net
    width = backbone.num_features
    network = nn.Sequential(backbone, SimCLRProjectionHead(width, 512, 128)).to(memory_format=torch.channels_last)
    loss, optimizer = NTXentLoss(0.2), torch.optim.AdamW(network.parameters(), 3e-3)
    watch, precision = Stopwatch(), automatic()
    while len(watch.ends) < WARM_UP + steps:
        for views, *_ in loader:
            views = torch.cat(views).to(memory_format=torch.channels_last)
            with autocast(precision):
                first, second = network(views).chunk(2)
            value = loss(first.float(), second.float())
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            watch.note(value)
            if len(watch.ends) == WARM_UP + steps:
                break
    return batch * steps / (watch.ends[-1][0] - watch.ends[WARM_UP - 1][0])


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--root", type=Path, required=True, help="folder with train/CLASS/*.jpg")
    options.add_argument("--size", type=int, default=32, help="side of the views in pixels")
    options.add_argument("--batch_size", type=int, default=128)
    options.add_argument("--steps", type=int, default=60, help="steps that count")
    options.add_argument("--workers", type=int, default=2, help="processes that make views")
    options.add_argument("--repeats", type=int, default=3, help="pairs of runs")
    args = options.parse_args(argv)
    if find_spec("lightly") is None:
        options.error('lightly is not installed: pip install -c constraints.txt -e ".[bench]"')
    began = time.monotonic()
    run = args.root.resolve(), args.size, args.batch_size, args.steps, args.workers
    rates = in_pairs(lambda: apart(ours, *run), lambda: apart(lightly, *run), args.repeats)
    rows = [Comparison(f"SimCLR, {args.size} px, batch {args.batch_size}", "images/s", *rates, MARK)]
    how = f"{args.workers} workers, {args.repeats} pairs, {automatic()}"
    title = f"Pretraining, {args.steps} steps after {WARM_UP}, {how}"
    facts = {"seconds": round(time.monotonic() - began), "steps": args.steps, "precision": automatic()}
    return compare("pretraining", title, rows, "lightly's parts", args.json, **facts)


if __name__ == "__main__":
    main()
