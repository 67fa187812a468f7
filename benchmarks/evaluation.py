"""Images per second of DetectionScores against pycocotools, on generated detections of boxes and masks.

Both get the same objects and the same number of detections per image, evenly over the classes: most are objects moved
and stretched a little, some with a wrong class, the rest are anywhere; scores have three decimals. Ours is timed from
the batches to the metrics (update and compute); of pycocotools only COCOeval's evaluate, accumulate and summarize
count, not the making of its annotations. Seconds are those of the process.
"""

import contextlib
import io
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from faster_coco_eval.core import mask as coco_mask

from benchmarks.report import Comparison, compare, in_pairs, parser
from modules.contracts import Prediction
from modules.metrics.detection import DetectionScores
from modules.metrics.detection_arrays import Kind, Rle

MARK = ">= 2"
BATCH = 16
Truths = list[dict[str, Any]]


def scenes(
    images: int,
    objects: int,
    detections: int,
    classes: int,
    size: tuple[int, int] = (480, 640),
    crowds: float = 0.0,
    seed: int = 0,
) -> tuple[Prediction, Truths]:
    """Predictions of images and their truth, with masks, as DetectionScores takes them.

    Args:
        images: number of images.
        objects: objects per image.
        detections: detections per image.
        classes: number of classes.
        size: height and width of the images.
        crowds: share of the objects that are crowds.
        seed: of all that is random.
    """
    random = np.random.default_rng(seed)
    predictions: Prediction = {"boxes": [], "scores": [], "labels": [], "rle": []}
    truths = []
    for _ in range(images):
        boxes, labels = random_boxes(random, objects, size), random.integers(0, classes, objects)
        rle = [ellipse(box, size) for box in boxes]
        area = torch.tensor([float(coco_mask.area(mask)) for mask in rle])
        truth = {"crowd": torch.from_numpy(random.random(objects) < crowds), "area": area, "rle": rle}
        truths.append(truth | {"boxes": torch.from_numpy(boxes), "labels": torch.from_numpy(labels)})
        boxes, labels = _disturbed(random, boxes, labels, detections, classes, size)
        scores = np.sort(random.random(detections).round(3).astype(np.float32))[::-1].copy()
        found = {"boxes": torch.from_numpy(boxes), "scores": torch.from_numpy(scores)}
        found |= {"labels": torch.from_numpy(labels), "rle": [ellipse(box, size) for box in boxes]}
        for key, value in found.items():
            predictions[key].append(value)
    return predictions, truths


def random_boxes(random: np.random.Generator, count: int, size: tuple[int, int]) -> np.ndarray:
    """Random boxes float32 (N, 4), xyxy, anywhere in an image, of 8 pixels to half its side."""
    height, width = size
    sides = random.uniform(8, (width / 2, height / 2), (count, 2))
    corner = random.uniform(0, 1, (count, 2)) * ((width, height) - sides)
    return np.concatenate([corner, corner + sides], 1).astype(np.float32)


def _disturbed(
    random: np.random.Generator,
    boxes: np.ndarray,
    labels: np.ndarray,
    count: int,
    classes: int,
    size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Detections from objects: three of four are moved objects, one of four of these with any class; others random."""
    source = random.integers(0, max(len(boxes), 1), count)
    known = random.random(count) < 0.75 if len(boxes) else np.zeros(count, bool)
    found, anything = random_boxes(random, count, size), random.integers(0, classes, count)
    moved = boxes[source[known]]
    sides = np.tile(moved[:, 2:] - moved[:, :2], 2)
    moved = moved + random.normal(0, 0.1, moved.shape) * sides
    found[known] = moved.clip(0, [size[1], size[0]] * 2)
    right = known & (random.random(count) < 0.75)
    return found, np.where(right, labels[source], anything) if len(labels) else anything


def ellipse(box: np.ndarray, size: tuple[int, int]) -> Rle:
    """The mask of the ellipse in a box, xyxy in pixels, as COCO's RLE, which runs down the columns."""
    height, width = size
    (x, y), (w, h) = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    columns = np.arange(max(0, int(box[0])), min(width, int(np.ceil(box[2]))))
    reach = h * np.sqrt(np.maximum(1 - ((columns + 0.5 - x) / max(w, 1e-6)) ** 2, 0))
    top, bottom = (np.clip(np.round(y + sign * reach), 0, height).astype(np.int64) for sign in (-1, 1))
    ends = np.stack([columns * height + top, columns * height + bottom], 1)[bottom > top].ravel()
    inner = np.flatnonzero(ends[1:-1:2] == ends[2::2]) * 2 + 1  # one column's run goes on in the next
    ends = np.delete(ends, [*inner, *(inner + 1)])
    counts = np.diff(ends, prepend=0, append=height * width)
    return coco_mask.frPyObjects({"size": list(size), "counts": counts.tolist()}, height, width)


def batches(predictions: Prediction, truths: Truths, size: int = BATCH) -> Iterator[tuple[Prediction, Truths]]:
    """Predictions and truth of some images at a time."""
    for start in range(0, len(truths), size):
        yield {key: entries[start : start + size] for key, entries in predictions.items()}, truths[start : start + size]


def ours(predictions: Prediction, truths: Truths, classes: int, masks: bool) -> float:
    """Images per second of DetectionScores."""
    began = time.process_time()
    scores = DetectionScores(classes, masks)
    for batch in batches(predictions, truths):
        scores.update(*batch)
    scores.compute()
    return len(truths) / (time.process_time() - began)


def pycocotools(predictions: Prediction, truths: Truths, classes: int, masks: bool) -> float:
    """Images per second of COCOeval."""
    seconds = 0.0
    for kind in ("boxes", "masks")[: 1 + masks]:
        evaluation = coco_eval(predictions, truths, classes, kind)
        began = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        seconds += time.process_time() - began
    return len(truths) / seconds


def coco_eval(predictions: Prediction, truths: Truths, classes: int, kind: Kind) -> Any:
    """pycocotools' COCOeval of these boxes or masks, not yet run; an image's id is its place."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = [{"id": i, "height": 1, "width": 1} for i in range(len(truths))]  # sizes are used for polygons only
    entries = [entry for i, truth in enumerate(truths) for entry in _annotations(i, truth, kind)]
    results = []
    for i in range(len(truths)):
        found = {key: predictions[key][i] for key in predictions}
        results += _annotations(i, found, kind)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"info": {}, "images": images, "categories": [{"id": i} for i in range(classes)]}
        truth.dataset["annotations"] = [{"id": i, **entry} for i, entry in enumerate(entries, 1)]
        truth.createIndex()
        return COCOeval(truth, truth.loadRes(results), "segm" if kind == "masks" else "bbox")


def _annotations(image: int, objects: dict[str, Any], kind: Kind) -> Iterator[dict[str, Any]]:
    for i, (x1, y1, x2, y2) in enumerate(objects["boxes"].tolist()):
        entry = {"image_id": image, "category_id": int(objects["labels"][i])}
        entry |= {"segmentation": objects["rle"][i]} if kind == "masks" else {"bbox": [x1, y1, x2 - x1, y2 - y1]}
        if "scores" in objects:
            yield entry | {"score": float(objects["scores"][i])}
        else:
            yield entry | {"area": float(objects["area"][i]), "iscrowd": int(objects["crowd"][i])}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=500)
    options.add_argument("--objects", type=int, default=10, help="per image")
    options.add_argument("--detections", type=int, default=100, help="per image")
    options.add_argument("--classes", type=int, default=80)
    options.add_argument("--repeats", type=int, default=3, help="pairs of runs")
    args = options.parse_args(argv)
    if find_spec("pycocotools") is None:
        options.error('pycocotools is not installed: pip install -c constraints.txt -e ".[bench]"')
    rows, made = [], scenes(args.images, args.objects, args.detections, args.classes)
    for what, masks in (("boxes", False), ("boxes and masks", True)):
        run = *made, args.classes, masks
        rates = in_pairs(lambda run=run: ours(*run), lambda run=run: pycocotools(*run), args.repeats)
        rows.append(Comparison(what, "images/s", *rates, MARK))
    what = f"{args.images} images x {args.detections} detections x {args.classes} classes"
    return compare("evaluation", f"Evaluation, {what}, {args.repeats} pairs", rows, "pycocotools", args.json)


if __name__ == "__main__":
    main()
