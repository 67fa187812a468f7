"""Fast style transfer beside 300 steps of optimization on held-out photographs, and instance beside batch norm.

`cli.py fit --config tasks/fast_style.yaml` trains on the images of a folder, with each norm and seed, or `--ckpt_path`
names a run that is trained. Of the images set aside, some are painted by the network in one pass and, with the same
losses, weights and loss network, by optimizing their pixels. Printed are the losses of both, their weighted sum, which
both minimize, the ratios of their means with 95 % intervals over photographs, the time of an image by both, and the
loss of each norm. `--images FILE` shows photographs, passes and optimizations.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision.utils import save_image

from benchmarks.fits import TASKS
from benchmarks.overhead import surroundings
from benchmarks.report import Comparison, compare, parser
from commands.fit import CLI
from commands.silence import silence_messages
from modules.metrics.bootstrap import Items, Sums, intervals
from modules.style import stylize
from modules.style.features import weighted
from tasks import FastStyle

NORMS = "instance", "batch"
MARKS = {"style": "<= 1.5", "content": "<= 1.5", "total": "<= 1.5", "seconds": "<= 0.01"}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Print losses and times of a pass beside those of an optimization, and the loss of both norms over seeds."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, help="folder of photographs that networks are trained on")
    options.add_argument("--ckpt_path", type=Path, help="run or checkpoint that is judged; none is trained")
    options.add_argument("--style", default="strokes", help="image file, or a built-in style; of a run its first")
    options.add_argument("--photographs", type=int, default=8, help="held-out ones that are painted")
    options.add_argument("--steps", type=int, default=300, help="of the optimization")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--images", type=Path, help="file of photographs above passes above optimizations")
    args, typed = options.parse_known_args(argv)
    if (args.root is None) == (args.ckpt_path is None):
        options.error("give --root to train networks, or --ckpt_path to judge one")
    with TemporaryDirectory() as folder, surroundings():
        silence_messages()
        if args.ckpt_path:
            words = ["--ckpt_path", str(args.ckpt_path), "--data.workers", "0", f"--run_dir={folder}/run"]
            run = CLI(["validate", *words, *typed])
            rows = beside_optimization(run.model.eval(), run.datamodule, args.photographs, args.steps, args.images)
        else:
            rows = both_norms(args, Path(folder), typed)
    print_ratios([row for row in rows if row.unit == "loss"])
    title = f"a pass | {args.steps} steps"
    facts = {"settings": typed, "photographs": args.photographs}
    return compare("style", title, rows, f"{args.steps} steps", args.json, **facts)


def both_norms(args: Any, folder: Path, typed: list[str]) -> list[Comparison]:
    """Train networks with each norm and seed; the first is judged, and the losses of the norms are compared."""
    losses: dict[str, list[float]] = {norm: [] for norm in NORMS}
    rows: list[Comparison] = []
    for norm, seed in [(norm, seed) for norm in NORMS for seed in range(args.seeds)]:
        words = f"--data=UnlabeledImages --data.root={args.root} --data.val_split=0.15 --data.workers=0".split()
        words += [f"--model.styles=[{args.style}]", f"--model.norm={norm}", f"--seed_everything={seed}"]
        config = f"--config={TASKS / 'fast_style.yaml'}"
        run = CLI(["fit", config, *words, f"--run_dir={folder}/{norm}{seed}", *typed])
        losses[norm].append(float(run.trainer.callback_metrics["val/loss"]))
        task = run.model.eval()
        rows = rows or beside_optimization(task, run.datamodule, args.photographs, args.steps, args.images)
    return [*rows, Comparison("val/loss, instance norm | batch norm", "", losses["instance"], losses["batch"], "<= 1")]


def beside_optimization(
    task: FastStyle, data: Any, count: int, steps: int, shown: Path | None = None
) -> list[Comparison]:
    """Losses and seconds of held-out images in the first style by one pass, and by optimizing them one by one.

    Args:
        task: trained, in evaluation mode.
        data: whose val split is held out.
        count: images, spread evenly over the split.
        steps: of the optimization.
        shown: file of the images: as they were, by a pass, optimized; null writes none.
    """
    images: list[Tensor] = []
    for batch in data.val_dataloader():
        parts = zip(batch["image"], batch["inside"].tolist(), strict=True)
        images += [image[None, :, :height, :width] for image, (height, width) in parts]
    images = images[:: max(1, len(images) // count)][:count]
    grams = [task.get_buffer(f"gram_{level}")[:1] for level in task.measure.style_levels]
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in MARKS}
    drawn: list[list[Tensor]] = [[], [], []]
    for image in images:
        content = image.float().contiguous() / 255
        seen, mix = task.backbone.normalize(image), torch.eye(len(task.styles))[:1]
        with torch.inference_mode():
            task(seen, mix)  # warm
            passed, quick = _timed(partial(task, seen, mix))
        settings = {"content": content, "style": grams, "weights": task.loss_weights, "steps": steps}
        made, slow = _timed(partial(stylize, task.measure, **settings))
        with torch.no_grad():
            target = task.measure.content(content)
            for place, (one, seconds) in enumerate(((passed, quick), (made, slow))):
                losses = task.measure.losses(one, grams, target)
                losses["total"] = weighted(losses, task.loss_weights)
                for name in ("style", "content", "total"):
                    found[name][place].append(losses[name].item())
                found["seconds"][place].append(seconds)
        for row, one in zip(drawn, (content, passed, made), strict=True):
            row.append(_square(one))
    if shown:
        save_image(torch.cat([one for row in drawn for one in row]), shown, nrow=len(images))
    return [Comparison(name, "s" if name == "seconds" else "loss", *found[name], mark) for name, mark in MARKS.items()]


def print_ratios(rows: list[Comparison]) -> None:
    """Print the mean losses of both and their ratio, with its 95 % interval over images."""
    sums = Sums(
        "means", [row.what for row in rows], np.array([row.ours for row in rows] + [row.peer for row in rows]).T
    )
    found = intervals(Items(np.arange(len(sums)).astype(str), [sums]))
    for row in rows:
        first, second, one = np.mean(row.ours), np.mean(row.peer), found[row.what]
        within = "" if one is None else f" [{one.low:.2f}, {one.high:.2f}]"
        print(f"{row.what} loss: {first:.3g} | {second:.3g}, {first / second:.2f} times{within}")


def _square(image: Tensor) -> Tensor:
    """An image (1, 3, H, W), padded below and right to a square."""
    height, width = image.shape[-2:]
    side = max(height, width)
    return pad(image, (0, side - width, 0, side - height), value=1.0)


def _timed(work: Callable[[], Tensor]) -> tuple[Tensor, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


if __name__ == "__main__":
    main()
