"""Coverage of 95 % bootstrap intervals: simulated test sets of two systems whose true metrics are known.

Both systems answer the same items, each item with a difficulty of its own, so that their errors go together. Accuracy,
AP, BLEU and mIoU. The true difference of the two systems is that of a set a hundred times as large; between 93 and 97 %
of the intervals should contain it. The metric of the first system alone is compared with its mean over all test sets,
which for AP lies above that of a large one.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import ndtr

from benchmarks.evaluation import scenes
from benchmarks.report import parser, publish
from modules.metrics.bootstrap import Items, Statistic, Sums, difference, intervals
from modules.metrics.bootstrap.matches import objects
from modules.metrics.detection_arrays import Image, pack, unpack

Random = np.random.Generator
Pair = tuple[Statistic, Statistic]
SIDE, CLASSES = 400, 3  # of images with objects
SKILLS, LUCK = (1.0, 0.8), 0.1  # of two systems, and the spread of it from one training to the next


def accuracy(random: Random, items: int) -> Pair:
    """Right and wrong answers; the harder the item, the fewer of both systems are right."""
    hard = random.normal(size=items)
    first, second = (answers(random.normal(skill, 1, items) > hard) for skill in SKILLS)
    return first, second


def answers(right: np.ndarray) -> Sums:
    return Sums("means", ["accuracy"], np.stack([right, np.ones(len(right))], 1))


def seeds(random: Random, items: int, count: int) -> list[tuple[Sums, ...]]:
    """Answers of both systems as in `accuracy`, each trained `count` times; some trainings succeed better."""
    hard = random.normal(size=items)
    luck = random.normal(0, LUCK, (2, count))
    return [
        tuple(answers(random.normal(skill + one, 1, items) > hard) for one in of)
        for skill, of in zip(SKILLS, luck, strict=True)
    ]


def regions(random: Random, items: int, classes: int = 8) -> Pair:
    """Maps of a few classes each, some of whose pixels get the class of another."""
    shares = random.dirichlet(np.ones(classes), items) * (random.random((items, classes)) < 0.4)
    true = np.round(4096 * shares / np.maximum(shares.sum(1, keepdims=True), 1e-9))
    hard = random.normal(size=(items, classes)) + random.normal(size=(items, 1))
    made = []
    for skill in (1.3, 1.1):
        right = np.round(true / (1 + np.exp(hard + 0.5 * random.normal(size=hard.shape) - skill)))
        wrong = (true - right).sum(1, keepdims=True) * random.dirichlet(np.ones(classes), items)
        table = np.concatenate([right, true, right + np.round(wrong), *[np.zeros_like(right)] * 4], 1)
        made.append(Sums("regions", [""], table))
    return made[0], made[1]


def sentences(random: Random, items: int, words: int = 2000) -> Pair:
    """Sentences of Zipf-distributed words, some of which are replaced or left out."""
    from sacrebleu.metrics import BLEU

    chances = 1 / np.arange(1, words + 1)
    chances /= chances.sum()
    lengths = random.integers(5, 25, items)
    references = [random.choice(words, length, p=chances) for length in lengths]
    hard = random.beta(2, 4, items)
    made = []
    for level in (0.8, 0.9):
        said = []
        for text, share in zip(references, hard, strict=True):
            replaced = np.where(random.random(len(text)) < level * share, random.integers(words, size=len(text)), text)
            said.append(replaced[random.random(len(text)) > 0.03])
        texts = [[" ".join(map(str, words)) for words in of] for of in (said, references)]
        table = BLEU(tokenize="none", force=True)._extract_corpus_statistics(texts[0], texts[1:])
        made.append(Sums("bleu", ["bleu"], np.array(table)))
    return made[0], made[1]


def detections(random: Random, items: int) -> Pair:
    """Boxes of three classes, found with errors of place and class, and others that are none."""
    found: tuple[list[Image], list[Image]] = ([], [])
    for _ in range(items):
        count = 1 + random.poisson(4)
        sides = random.uniform(100, 200, (count, 2))
        boxes = np.concatenate([random.uniform(0, SIDE - sides), sides], 1)
        labels, hard = random.integers(CLASSES, size=count), random.gamma(2, 0.05, count) + random.gamma(2, 0.03)
        for images, noise in zip(found, (0.8, 1.0), strict=True):
            images.append(_found(random, boxes, labels, noise * hard))
    made = [objects(images, "boxes", 100, False, "") for images in found]
    return made[0], made[1]


def _found(random: Random, boxes: np.ndarray, labels: np.ndarray, error: np.ndarray) -> Image:
    moved = boxes + error[:, None] * boxes[:, [2, 3, 2, 3]] * random.normal(size=boxes.shape)
    said = np.where(random.random(len(labels)) < error, random.integers(CLASSES, size=len(labels)), labels)
    seen = random.random(len(labels)) > error
    more = random.poisson(3)
    extra = np.concatenate([random.uniform(0, 200, (more, 2)), random.uniform(100, 200, (more, 2))], 1)
    sure = 1 / (1 + np.exp(5 * error - 1 - random.normal(size=len(error))))
    scores = np.concatenate([sure[seen], random.beta(2, 4, more)])
    order = np.argsort(-scores)
    return Image(
        boxes=np.concatenate([moved[seen], extra])[order],
        scores=scores[order],
        labels=np.concatenate([said[seen], random.integers(CLASSES, size=more)])[order],
        true_boxes=boxes,
        true_labels=labels,
        crowd=np.zeros(len(labels), bool),
        area=boxes[:, 2:].prod(1),
    )


SYSTEMS: dict[str, tuple[Callable[[Random, int], Pair], int]] = {
    "accuracy": (accuracy, 200),
    "miou": (regions, 100),
    "bleu": (sentences, 200),
    "map": (detections, 100),
    "map50": (detections, 100),
}
"""Metric -> its systems and the number of items of a test set."""


def coverage(metric: str, sets: int, resamples: int) -> dict[str, Any]:
    """Share of the intervals of one metric that contain the true value, their standard error and the spread it tells.

    Args:
        metric: key of SYSTEMS.
        sets: simulated test sets.
        resamples: of each of them.
    """
    make, items = SYSTEMS[metric]
    began, names = time.process_time(), np.array([f"{i:05}" for i in range(items)])
    large = [one.values(np.ones((1, 100 * items)))[metric][0] for one in make(np.random.default_rng(0), 100 * items)]
    apart, alone = [], []
    for seed in range(1, sets + 1):
        first, second = (Items(names, [one]) for one in make(np.random.default_rng(seed), items))
        apart.append(difference([first], [second], resamples)[metric])
        alone.append(intervals(first, resamples)[metric])
    row: dict[str, Any] = {"metric": metric, "items": items, "sets": sets}
    truths = {"difference": large[0] - large[1], "alone": float(np.mean([one.value for one in alone]))}
    for name, found in (("difference", apart), ("alone", alone)):
        values = np.array([one[:4] for one in found])
        row[name] = truths[name]
        row[f"coverage of {name}"] = float(((values[:, 1] <= truths[name]) & (truths[name] <= values[:, 2])).mean())
        row[f"standard error of {name}"] = float(values[:, 3].mean())
        row[f"spread of {name}"] = float(values[:, 0].std(ddof=1))
    return row | {"seconds": round(time.process_time() - began, 1)}


def of_seeds(sets: int, resamples: int, items: int = 200, count: int = 3) -> dict[str, Any]:
    """Coverage of the difference of two systems that are trained several times each, by the closed form."""
    names, found = np.array([f"{i:05}" for i in range(items)]), []
    for seed in range(sets):
        runs = [[Items(names, [one]) for one in of] for of in seeds(np.random.default_rng(seed), items, count)]
        found.append(difference(*runs, resamples)["accuracy"])
    first, second = ndtr(np.array(SKILLS) / np.sqrt(2 + LUCK**2))
    values = np.array([one[:4] for one in found])
    inside = (values[:, 1] <= first - second) & (first - second <= values[:, 2])
    return {
        "metric": f"accuracy, {count} seeds",
        "items": items,
        "sets": sets,
        "difference": float(first - second),
        "coverage of difference": float(inside.mean()),
        "standard error of difference": float(values[:, 3].mean()),
        "spread of difference": float(values[:, 0].std(ddof=1)),
    }


def seconds(images: int, resamples: int) -> dict[str, float]:
    """CPU seconds for intervals of all metrics of boxes: 10 classes, 7 objects and 100 detections in each image."""
    predictions, truths = scenes(images, 7, 100, 10)
    packed = unpack(pack(predictions, truths, False))
    began = time.process_time()
    matched = Items(np.arange(images).astype(str), [objects(packed, "boxes", 100, False, "")])
    middle = time.process_time()
    intervals(matched, resamples)
    return {"matching": round(middle - began, 2), "resampling": round(time.process_time() - middle, 2)}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--metrics", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    options.add_argument("--sets", type=int, default=500)
    options.add_argument("--resamples", type=int, default=1000)
    options.add_argument("--images", type=int, default=500, help="images whose AP is resampled for the time")
    typed = options.parse_args(argv)
    rows = [coverage(metric, typed.sets, typed.resamples) for metric in typed.metrics]
    rows.append(of_seeds(typed.sets, typed.resamples))
    table = Table(title=f"Intervals that contain the true value, of {typed.sets} simulated test sets")
    shown = ("metric", "items", "difference", "coverage of difference", "coverage of alone")
    for heading in shown:
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for row in rows:
        cells = (row.get(heading, "") for heading in shown)
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in cells))
    Console().print(table)
    spent = seconds(typed.images, typed.resamples)
    print(f"intervals of AP, {typed.images} images, {typed.resamples:,} resamples: {sum(spent.values()):.1f} s of CPU")
    return publish("coverage", typed.json, rows=rows, resamples=typed.resamples, images=typed.images, seconds=spent)


if __name__ == "__main__":
    main()
