"""Learning curves of a run, and a verdict on them in words."""

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

Curve = Sequence[tuple[int, float]]  # (finished epochs, value) in order

LOSSES = "train/loss_epoch", "val/loss"
MIN_EPOCHS = 3
SETTLED = 5  # epochs that it takes to tell rest from noise
RECENT = 0.2  # share of the epochs at the end whose mean is compared with the mean of as many before
IMPROVING = 0.03  # of the whole range, gained by the recent epochs, is still improving
SURE = 4  # standard errors that a rise above the lowest of many values must exceed
ALIKE, APART = 0.05, 0.1  # difference of shares 0..1 in training and validation
LOW = 0.9  # below which a share 0..1 leaves room


class Verdict(NamedTuple):
    """Verdict on learning curves.

    Args:
        kind: what they show; `unknown` for too few epochs or no validation.
        text: a sentence with its evidence, the values.
        epoch: of the best value before it became worse, counted from 1; null for other kinds.
    """

    kind: Literal["unknown", "overfitting", "improving", "declining", "alike", "converged"]
    text: str
    epoch: int | None = None


def read_curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Curves in a metrics.csv by log name: means of training epochs, and the last validation of each.

    A run without training has none.
    """
    found: dict[str, dict[int, float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, text in row.items():
                if text and row.get("epoch") and (name.startswith("val/") or name.endswith("_epoch")):
                    found.setdefault(name, {})[int(row["epoch"]) + 1] = float(text)
    trained = found.get(LOSSES[0], {})
    finite = {n: [(e, v) for e, v in c.items() if e in trained and math.isfinite(v)] for n, c in found.items()}
    return {name: sorted(curve) for name, curve in finite.items() if curve}


def verdict(curves: Mapping[str, Curve], monitor: str, mode: str) -> Verdict:
    """Judge learning curves: overfitting, still improving, alike in training and validation, or converged.

    Means of the last fifth of the epochs are compared with earlier ones, and differences count where they exceed the
    noise, which is estimated from the second and third differences of a curve.

    Args:
        curves: by log name: `train/loss_epoch`, `val/loss`, the monitor, and its twin in training if there is one.
        monitor: log name of the metric that the task is judged by.
        mode: "max" if more of it is better, "min" if less is.
    """
    judged = curves.get(monitor, ())
    if not judged:
        return Verdict("unknown", f"no verdict without {monitor}")
    if len(judged) < MIN_EPOCHS:
        return Verdict(
            "unknown", f"no verdict from {len(judged)} epoch{'s' * (len(judged) > 1)}: it takes {MIN_EPOCHS}"
        )
    better = _values(judged) * (1 if mode == "max" else -1)
    gains, last = _improves(better), judged[-1][0]
    if (epoch := _overfits(*(curves.get(name, ()) for name in LOSSES))) is not None:
        rise, fall = (_from(curves[name], epoch, last) for name in reversed(LOSSES))
        also = f"; {monitor} is still improving" if gains and monitor not in LOSSES else ""
        text = (
            f"overfitting from epoch {epoch}: {LOSSES[1]} rises {rise} by epoch {last}, {LOSSES[0]} falls {fall}{also}"
        )
        return Verdict("overfitting", text, epoch)
    lowest = _lowest(-better)
    falls = lowest is None and _improves(-_values(curves.get(LOSSES[1], ())))
    for name, improves in ((monitor, gains), (LOSSES[1], falls)):
        if improves:
            grows = "rising" if name == monitor and mode == "max" else "falling"
            (old, new), since = _ends(_values(curves[name])), last - _recent(len(judged))
            return Verdict(
                "improving", f"still {grows}: {name} {old:.4g} to {new:.4g} after epoch {since}: train longer"
            )
    if lowest is not None:
        epoch = judged[lowest][0]
        text = f"past its best at epoch {epoch}: {monitor} goes {_from(judged, epoch, last)} by epoch {last}"
        return Verdict("declining", text, epoch)
    if len(judged) < SETTLED:
        return Verdict(
            "unknown", f"no verdict from {len(judged)} epochs, which show no trend: train for {SETTLED} or more"
        )
    return _flat(curves, monitor, mode, _ends(_values(judged)), last)


def most_common(verdicts: Sequence[Verdict]) -> str:
    """Sentence of the most common kind of verdict on several runs, with the number of those that share it."""
    kind, count = Counter(one.kind for one in verdicts).most_common(1)[0]
    text = next(one.text for one in verdicts if one.kind == kind)
    return text if len(verdicts) == 1 else f"{count} of {len(verdicts)} runs: {text}"


def _flat(curves: Mapping[str, Curve], monitor: str, mode: str, ends: tuple[float, float], last: int) -> Verdict:
    """Verdict on a monitor that does not move any more, by the difference between training and validation."""
    settled = f"converged: {monitor} {ends[0]:.4g} to {ends[1]:.4g} in the last epochs"
    twin = f"train/{monitor.partition('/')[2]}_epoch"
    share = mode == "max" and all(0 <= value <= 1 for _, value in curves[monitor])
    if share and twin in curves:
        names, gap = (twin, monitor), _end(curves[twin]) - ends[1]
        alike, apart = gap < ALIKE, gap > APART
    elif all(name in curves for name in LOSSES):
        names, (train, val) = LOSSES, (_end(curves[name]) for name in LOSSES)
        alike, apart = val < train + ALIKE * abs(train), False
    else:
        return Verdict("converged", settled)
    both = " and ".join(f"{name} {_end(curves[name]):.4g}" for name in names)
    if alike and not (share and ends[1] >= LOW):
        low = " and low" if share else ""
        return Verdict(
            "alike", f"train and val alike{low} at epoch {last} ({both}): try a larger model, or less regularization"
        )
    more = f"; {both} are apart: try more data, augmentation or regularization" if apart else ""
    return Verdict("converged", settled + more)


def _overfits(train: Curve, val: Curve) -> int | None:
    """Epoch of the lowest validation loss if it rises after it while the training loss falls; null otherwise."""
    known = dict(train)
    val = [point for point in val if point[0] in known]
    if len(val) < MIN_EPOCHS or (lowest := _lowest(_values(val))) is None:
        return None
    fit, width = np.array([known[epoch] for epoch, _ in val]), _recent(len(val))
    before, after = fit[lowest : lowest + width].mean(), fit[-width:].mean()
    return val[lowest][0] if after < before - 0.02 * abs(before) else None


def _lowest(values: np.ndarray) -> int | None:
    """Index of the minimum of values that rise after it beyond their noise, and stay above it; null if they do not."""
    width = _recent(len(values))
    means = np.convolve(values, np.ones(width) / width, "valid")
    first = int(means.argmin())
    rise, least = means[-1] - means[first], max(0.02, 0.2 / len(values)) * abs(means[first])
    noise = SURE * _noise(values) * (2 / width) ** 0.5
    stays = (values[max(first + width, len(values) - 2 * width) :] > means[first]).all()
    if first + width > len(values) - 2 or rise <= max(noise, least) or not stays:
        return None
    return first + int(values[first : first + width].argmin())


def _improves(values: np.ndarray) -> bool:
    """True if recent values are above those before, beyond noise, by more than a little of the whole range."""
    if len(values) < MIN_EPOCHS:
        return False
    old, new = _ends(values)
    gain = new - old
    return gain > max(3 * _noise(values) * (2 / _recent(len(values))) ** 0.5, IMPROVING * float(np.ptp(values)))


def _noise(values: np.ndarray) -> float:
    """Standard deviation of the noise of a smooth curve, from the medians of its second and third differences."""
    orders = {2: 6, 3: 20}  # -> variance of the differences of independent values
    found = [
        1.4826 * float(np.median(np.abs(np.diff(values, order)))) / variance**0.5
        for order, variance in orders.items()
        if len(values) > order
    ]
    return min(found)


def _recent(count: int) -> int:
    return max(1, round(RECENT * count))


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Means of the recent values, and of as many before; in order."""
    width = _recent(len(values))
    return float(values[-2 * width : -width].mean()), float(values[-width:].mean())


def _end(curve: Curve) -> float:
    return _ends(_values(curve))[1]


def _values(curve: Curve) -> np.ndarray:
    return np.array([value for _, value in curve])


def _from(curve: Curve, epoch: int, last: int) -> str:
    """Values of two epochs: "from 0.51 to 0.62"."""
    values = dict(curve)
    return f"from {values[epoch]:.4g} to {values.get(last, curve[-1][1]):.4g}"
