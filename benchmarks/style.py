"""Fast style transfer beside 300 steps of optimization on held-out photographs, and instance beside batch norm.

`cli.py fit --config tasks/fast_style.yaml` trains on the images of a folder, with each norm and seed. Of the images set
aside, some are painted by the network in one pass and, with the same losses, weights and loss network, by optimizing
their pixels. Printed are the losses of both and their ratios, the time of an image by both, and the loss of each norm.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from benchmarks.fits import TASKS
from benchmarks.overhead import surroundings
from benchmarks.report import Comparison, compare, parser
from commands.fit import CLI
from commands.silence import silence_messages
from modules.style import stylize
from tasks import FastStyle

NORMS = "instance", "batch"


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Print losses and times of a pass beside those of an optimization, and the loss of both norms over seeds."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, required=True, help="folder of photographs")
    options.add_argument("--style", default="strokes", help="image file, or a built-in style")
    options.add_argument("--photographs", type=int, default=8, help="held-out ones that are painted")
    options.add_argument("--steps", type=int, default=300, help="of the optimization")
    options.add_argument("--seeds", type=int, default=3)
    args, typed = options.parse_known_args(argv)
    with TemporaryDirectory() as folder, surroundings():
        silence_messages()
        losses: dict[str, list[float]] = {norm: [] for norm in NORMS}
        rows: list[Comparison] = []
        for norm, seed in [(norm, seed) for norm in NORMS for seed in range(args.seeds)]:
            words = f"--data=UnlabeledImages --data.root={args.root} --data.val_split=0.15 --data.workers=0".split()
            words += [f"--model.styles=[{args.style}]", f"--model.norm={norm}", f"--seed_everything={seed}"]
            config = f"--config={TASKS / 'fast_style.yaml'}"
            run = CLI(["fit", config, *words, f"--run_dir={folder}/{norm}{seed}", *typed])
            losses[norm].append(float(run.trainer.callback_metrics["val/loss"]))
            rows = rows or beside_optimization(run.model.eval(), run.datamodule, args.photographs, args.steps)
    rows.append(Comparison("val/loss, instance norm | batch norm", "", losses["instance"], losses["batch"], "<= 1"))
    title = f"a pass | {args.steps} steps"
    facts = {"settings": typed, "style": args.style, "photographs": args.photographs}
    return compare("style", title, rows, f"{args.steps} steps", args.json, **facts)


def beside_optimization(task: FastStyle, data: Any, count: int, steps: int) -> list[Comparison]:
    """Losses and seconds of held-out images by one pass, and by optimizing them one by one."""
    images: list[Tensor] = []
    for batch in data.val_dataloader():
        parts = zip(batch["image"], batch["inside"].tolist(), strict=True)
        images += [image[None, :, :height, :width] for image, (height, width) in parts]
    grams = [task.get_buffer(f"gram_{level}")[:1] for level in task.measure.style_levels]
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ("style", "content", "seconds")}
    for image in images[:count]:
        content = image.float().contiguous() / 255
        seen, mix = task.backbone.normalize(image), torch.eye(len(task.styles))[:1]
        with torch.inference_mode():
            task(seen, mix)  # warm
            passed, quick = _timed(partial(task, seen, mix))
        settings = {"content": content, "style": grams, "weights": task.loss_weights, "steps": steps}
        made, slow = _timed(partial(stylize, task.measure, **settings))
        with torch.no_grad():
            target = task.measure.content(content)
            for place, one in enumerate((passed, made)):
                losses = task.measure.losses(one, grams, target)
                for name in ("style", "content"):
                    found[name][place].append(losses[name].item())
        for place, seconds in enumerate((quick, slow)):
            found["seconds"][place].append(seconds)
    marks = {"style": "<= 1.5", "content": "<= 1.5", "seconds": "<= 0.01"}
    units = {"style": "loss", "content": "loss", "seconds": "s"}
    return [Comparison(name, units[name], *both, marks[name]) for name, both in found.items()]


def _timed(work: Callable[[], Tensor]) -> tuple[Tensor, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


if __name__ == "__main__":
    main()
