"""DETR: training under `cli.py fit` beside a plain loop, deformable beside dense attention, and double detections.

    python -m benchmarks.detr
    python -m benchmarks.detr --runs runs/detr/latest runs/detection/latest

Both sides of the first row have the same network, loss, optimizer, schedule, precision, gradient clipping, threads and
batches (random, in memory); counted are the steps after the warm-up. Both of the others are one loop with another
attention. With `--runs` the detections of trained runs on the test images of the built-in data: those of the drawing
threshold or more that match an object (its class, IoU 0.5) are counted for each object that is found at all.
"""

from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch.nn.utils import clip_grad_norm_
from torchvision.ops import box_iou

from benchmarks.batches import Batches
from benchmarks.fits import rate
from benchmarks.overhead import TASKS, WARM_UP, Run, Stopwatch, ours
from benchmarks.precision import autocast, automatic
from benchmarks.rcnn import objects
from benchmarks.report import Comparison, compare, in_pairs, parser
from datamodules import ShapesObjects
from modules.contracts import Batch
from modules.heads.detection import DETR
from modules.necks import NoNeck
from modules.training.optim import Optim
from tasks import Detection

OBJECTS = 4  # in an image


class ObjectBatches(Batches):
    """Random images with random boxes; see `Batches`."""

    def _batch(self, random: np.random.Generator) -> Batch:
        batch, count, side = super()._batch(random), self.batch_size, self.image_size
        torch.manual_seed(int(random.integers(2**31)))
        labels = [torch.randint(0, len(self.classes), (OBJECTS,)) for _ in range(count)]
        sides = torch.tensor([[side, side]] * count)
        boxes = [objects(OBJECTS, side, side) for _ in range(count)]
        return batch | {"boxes": boxes, "labels": labels, "inside": sides, "size": sides}


def network(classes: list[str], **settings: Any) -> Detection:
    """The task of tasks/detr.yaml, by itself."""
    given = yaml.safe_load((TASKS / "detr.yaml").read_text())["model"]["init_args"]
    head = given["head"]["init_args"] | settings
    return Detection(
        backbone=given["backbone"],
        classes=classes,
        neck=NoNeck,
        head=lambda features, outputs: DETR(features, outputs, **head),
        optim=Optim(**given["optim"]),
    )


def plain(data: dict[str, int]) -> Run:
    """Training steps of a plain loop."""
    torch.manual_seed(0)  # as the YAML's run
    batches = ObjectBatches(**data)
    task = network(batches.classes).train()
    optimizer, schedule = task.optim.build(task, task.backbone.net, data["steps"])
    stopwatch, precision = Stopwatch(), automatic()
    for index, batch in enumerate(batches.train_dataloader()):
        stopwatch.begin(index)
        image = task.backbone.normalize(batch["image"])
        targets = [{"boxes": b, "labels": n} for b, n in zip(batch["boxes"], batch["labels"], strict=True)]
        with autocast(precision):
            losses = task.head(image, task.neck(task.backbone(image)), batch["inside"], targets)[1]
            loss = sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        stopwatch.note(loss)
    return stopwatch.run()


def stepped(attention: str, side: int, batch_size: int, steps: int) -> float:
    """Images per second of training steps with an attention, on images of a side in pixels."""
    torch.manual_seed(0)
    task = network([f"class{i}" for i in range(10)], attention=attention)
    batch = ObjectBatches(1, side, batch_size=batch_size)._batch(np.random.default_rng(0))
    image = task.backbone.normalize(batch["image"])
    targets = [{"boxes": b, "labels": n} for b, n in zip(batch["boxes"], batch["labels"], strict=True)]

    def loss(task: Detection) -> torch.Tensor:
        return sum(task.head(image, task.neck(task.backbone(image)), batch["inside"], targets)[1].values())

    return rate(task, loss, batch_size, steps)


def duplicates(run: Path) -> dict[str, float]:
    """Detections per found object with its 95 % interval, and the share of objects that are found, on test images.

    The interval is of 1,000 bootstrap samples of the images.
    """
    task = Detection.load_from_checkpoint(run / "checkpoints" / "best.ckpt").eval()
    data = ShapesObjects(image_size=96, batch_size=50, workers=0)
    data.setup("test")
    hits: list[torch.Tensor] = []
    for batch in data.test_dataloader():
        with torch.inference_mode():
            found = task.predict_step(task.on_after_batch_transfer(batch, 0), 0)
        for i, truth in enumerate(batch["truth"]):
            drawn = found["scores"][i] >= (task.drawing_threshold or 0)
            same = truth["labels"][:, None] == found["labels"][i][drawn]
            hits.append(((box_iou(truth["boxes"], found["boxes"][i][drawn]) >= 0.5) & same).sum(1))
    sums = torch.tensor([[each.sum(), (each > 0).sum(), len(each)] for each in hits]).numpy()
    drawn = np.random.default_rng(0).integers(0, len(sums), (1000, len(sums)))
    low, high = np.percentile(ratio(sums[drawn].sum(1)), [2.5, 97.5])
    total = sums.sum(0)
    return {"detections per found object": ratio(total), "low": low, "high": high, "recall": total[1] / total[2]}


def ratio(sums: np.ndarray) -> Any:
    """First by second of numbers (..., 3)."""
    return sums[..., 0] / np.maximum(1, sums[..., 1])


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=20, help="steps that count")
    options.add_argument("--repeats", type=int, default=3, help="pairs of runs")
    options.add_argument("--sides", type=int, nargs="+", default=[96, 320], help="of images, for the attentions")
    options.add_argument("--runs", type=Path, nargs="*", default=[], help="trained runs whose detections are counted")
    args = options.parse_args(argv)
    data = {"steps": WARM_UP + args.steps, "image_size": 96, "batch_size": 16}
    batches = {"--data": "benchmarks.detr.ObjectBatches"}
    runs = in_pairs(lambda: ours("detr", data, "cpu", batches), lambda: plain(data), args.repeats)
    losses = [run.loss for side in runs for run in side]
    if not isclose(min(losses), max(losses), rel_tol=1e-3):
        raise RuntimeError(f"the two sides do not train the same thing, their first losses are {losses}")
    images = args.steps * 16
    wall, process = ([[images / run[i] for run in side] for side in runs] for i in range(2))
    rows = [
        Comparison("DETR, 96 px, batch 16, beside a plain loop", "images/s", *wall, ">= 1.0"),
        Comparison("DETR, 96 px, batch 16, beside a plain loop", "images/CPU s", *process),
    ]
    for side in args.sides:
        size = side, max(1, 16 * 96**2 // side**2), args.steps
        both = in_pairs(lambda: stepped("deformable", *size), lambda: stepped("dense", *size), args.repeats)  # noqa: B023
        rows.append(Comparison(f"deformable attention beside dense, {side} px, batch {size[1]}", "images/s", *both))
    counted = {str(run): duplicates(run) for run in args.runs}
    for run, figures in counted.items():
        print(f"{run}: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items()))
    title = f"DETR, {args.steps} steps after {WARM_UP}, {args.repeats} pairs, {torch.get_num_threads()} threads"
    facts = {"steps": args.steps, "precision": automatic(), "duplicates": counted}
    return compare("detr", f"{title}, {automatic()}", rows, "plain loop, dense", args.json, **facts)


if __name__ == "__main__":
    main()
