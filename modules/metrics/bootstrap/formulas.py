"""Metrics as functions of sums over items: of R test sets at once, from sums (R, K)."""

from collections.abc import Callable

import numpy as np

Formula = Callable[[np.ndarray, list[str]], dict[str, np.ndarray]]


def means(sums: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """Weighted means of values: sums of the weighted values, then of the weights, K each."""
    top, weight = np.split(sums, 2, 1)
    return dict(zip(names, (top / weight).T, strict=True))


def perplexity(sums: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """exp of the mean, of sums as in `means`."""
    return {name: np.exp(value) for name, value in means(sums, names).items()}


def of_labels(sums: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """Metrics named in `names` from sums of right, true and predicted labels, C each."""
    right, true, predicted = np.split(sums, 3, 1)
    items, seen = true.sum(1), true + predicted > 0
    accuracy, chance = right.sum(1) / items, (true * predicted).sum(1) / items**2
    known = {
        "f1": _mean(2 * right / (true + predicted), seen),
        "accuracy_macro": _mean(np.where(true > 0, right / true, 0), seen),  # 0 for a class in predictions alone
        "kappa": (accuracy - chance) / (1 - chance),
    }
    return {name: known[name] for name in names}


def of_tags(sums: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """F1 of several classes at once from sums of right, true and found ones, C each: the mean, and of all as one."""
    right, true, found = np.split(sums, 3, 1)
    values = [_mean(2 * right / (true + found), true + found > 0)]
    values.append(2 * right.sum(1) / (true + found).sum(1))
    return dict(zip(names, values, strict=False))


def calibration(sums: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """Expected calibration error from sums of number, confidence and right answers in each bin."""
    number, confidence, right = np.split(sums, 3, 1)
    return {names[0]: np.abs(confidence - right).sum(1) / number.sum(1)}


def regions(sums: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """Metrics of `SegmentationScores` from sums of right, true and predicted pixels, and of boundary pixels, C each.

    The latter as `boundary_counts` gives them: predicted, matched, true, matched. The names are one, the end of all.
    """
    right, true, predicted, *edges = np.split(sums, 7, 1)
    pixels, hits, seen = true.sum(1), right.sum(1), true + predicted > 0
    precision, recall = edges[1] / np.maximum(edges[0], 1), edges[3] / np.maximum(edges[2], 1)
    values = {
        "miou": _mean(right / (true + predicted - right), seen),
        "pixel_accuracy": hits / pixels,
        "mean_accuracy": _mean(right / true, true > 0),
        "dice": _mean(2 * right / (true + predicted), seen),
        "micro_iou": hits / (2 * pixels - hits),
        "boundary_f1": _mean(2 * precision * recall / np.maximum(precision + recall, 1e-12), edges[0] + edges[2] > 0),
    }
    return {name + names[0]: value for name, value in values.items()}


def panoptic(sums: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """Panoptic, segmentation and recognition quality from sums of matches, their IoU, wrong and missed ones, C each.

    Means over the classes that have any segment, as in panopticapi. The names are one, the end of all.
    """
    right, iou, wrong, missed = np.split(sums, 4, 1)
    total = right + (wrong + missed) / 2
    quality = np.where(right > 0, iou / np.maximum(right, 1), 0)
    values = {"pq": iou / total, "sq": quality, "rq": right / total}
    return {name + names[0]: _mean(value, total > 0) for name, value in values.items()}


def bleu(sums: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """sacreBLEU, 0..100, from sums of lengths of text and reference, right n-grams and all, 4 orders each.

    `bleu` smooths orders of which no n-gram is right (as mteval-v13a), `bleu_tokenized` does not.
    """
    said, true, right, every = sums[:, 0], sums[:, 1], sums[:, 2:6], sums[:, 6:]
    least = 0.5 ** np.cumsum(right == 0, 1) if names == ["bleu"] else np.zeros_like(right)
    precision = np.where(right > 0, right, least) / every
    score = np.exp(np.minimum(0, 1 - true / said) + np.log(100 * precision).mean(1))
    return {names[0]: np.where(right.any(1) & every.all(1), score, 0)}


def caption_bleu(sums: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """BLEU-1 to 4 as `captions.bleu`, 0..1, from sums as in `bleu`."""
    said, true, right, every = sums[:, 0], sums[:, 1], sums[:, 2:6], sums[:, 6:]
    precision = np.cumprod((right + 1e-15) / (every + 1e-9), 1) ** (1 / np.arange(1, 5))
    ratio = (said + 1e-15) / (true + 1e-9)
    return dict(zip(names, (precision * np.exp(np.minimum(0, 1 - 1 / ratio))[:, None]).T, strict=True))


def chrf(sums: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """sacreBLEU's chrF2, 0..100, from sums of character n-grams of text and reference and of common ones, by order."""
    said, true, both = (sums[:, i::3] for i in range(3))
    counted = (said > 0) & (true > 0)
    orders = np.maximum(counted.sum(1), 1)
    precision, recall = (np.where(counted, both / of, 0).sum(1) / orders for of in (said, true))
    return {names[0]: 100 * 5 * precision * recall / np.maximum(4 * precision + recall, 1e-300)}


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean (R,) of the values (R, C) that are counted; nan where none is."""
    return np.where(counted, values, 0).sum(1) / counted.sum(1)


FORMULAS: dict[str, Formula] = {
    "means": means,
    "perplexity": perplexity,
    "labels": of_labels,
    "tags": of_tags,
    "calibration": calibration,
    "regions": regions,
    "panoptic": panoptic,
    "bleu": bleu,
    "caption_bleu": caption_bleu,
    "chrf": chrf,
}
