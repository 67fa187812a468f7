"""Confusion matrix, and bars of the most confused pairs of classes."""

from collections.abc import Sequence

import numpy as np

from callbacks.figures.base import PLAIN, percent, render, shorten, titled

NAMED = 50  # classes whose names fit on the axes
CHOSEN = 40  # classes that are drawn of more than that
MAX_PAIRS = 20  # pairs of the bars
BAR = 24  # pixels a pair


def confusion(
    matrix: np.ndarray, classes: Sequence[str], title: str, columns: str = "predicted", shares: bool = False
) -> np.ndarray:
    """Confusion matrix: counts as numbers (up to 20 classes), shares of the true class as colors.

    Of more than `NAMED` classes the `CHOSEN` most confused ones are drawn, the others together as one.

    Args:
        matrix: counts (C, C), rows are true classes, columns predicted ones.
        classes: C names.
        title: one line above all.
        columns: label of the column axis.
        shares: the numbers are shares of the true class in percent, for counts of pixels, which are too long to read.
    """
    if len(classes) > NAMED:
        title += f"; the {CHOSEN} most confused of {len(classes)} classes"
        matrix, classes = grouped(matrix, classes, CHOSEN)
    size = len(classes)
    side = min(max(48 * size, 320), 1000)
    labels = [shorten(name, 16) for name in classes]
    margin = 50 + 7 * max(map(len, labels))
    total_width, total_height = max(side + margin + 110, 9 * len(title)), side + margin + 60
    figure = titled(total_width, total_height, title)
    bottom = (margin + 8) / total_height
    axes = figure.add_axes((margin / total_width, bottom, side / total_width, side / total_height))
    share = matrix / matrix.sum(axis=1, keepdims=True).clip(min=1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xlabel(columns)
    axes.set_ylabel("true")
    fontsize = 9 if size <= 30 else 7
    axes.set_xticks(range(size), labels, rotation=90, fontsize=fontsize, parse_math=False)
    axes.set_yticks(range(size), labels, fontsize=fontsize, parse_math=False)
    if size <= 20:
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if share[row, column] > 0.5 else PLAIN if count else "#b0b0b0"
            text = percent(share[row, column]) if shares else f"{count:,}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9)
    bar = figure.add_axes(((margin + side + 20) / total_width, bottom, 16 / total_width, side / total_height))
    figure.colorbar(image, cax=bar, format=lambda value, _: f"{100 * value:.0f} %").set_label("of the true class")
    return render(figure)


def grouped(matrix: np.ndarray, classes: Sequence[str], count: int) -> tuple[np.ndarray, list[str]]:
    """Confusion matrix of the most confused classes, in their order, and one last class for all others.

    Args:
        matrix: counts (C, C), rows true, columns predicted.
        classes: C names.
        count: of the classes to keep, below C.

    Returns:
        Counts (count + 1, count + 1), and names.
    """
    wrong = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
    chosen = np.sort(np.argsort(-wrong, kind="stable")[:count])
    group = np.full(len(classes), count)
    group[chosen] = np.arange(count)
    small = np.zeros((count + 1, count + 1), matrix.dtype)
    np.add.at(small, (group[:, None], group), matrix)
    return small, [*(classes[index] for index in chosen), f"{len(classes) - count} others"]


def most_confused(matrix: np.ndarray, most: int = MAX_PAIRS) -> list[tuple[int, int, int]]:
    """The most confused pairs as (true class, predicted class, count), most frequent first.

    Args:
        matrix: counts (C, C), rows true, columns predicted.
        most: maximum number of pairs.
    """
    wrong = matrix - np.diag(matrix.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = (divmod(int(cell), len(matrix)) for cell in order)
    return [(true, said, int(wrong[true, said])) for true, said in pairs if wrong[true, said]]


def draw_confused(matrix: np.ndarray, classes: Sequence[str], title: str, noun: str) -> np.ndarray:
    """Bar chart of the most confused pairs; the title gives the number of pairs left out.

    Args:
        matrix: counts (C, C), rows true, columns predicted.
        classes: C names.
        title: one line above all.
        noun: name of the counted samples.
    """
    pairs, totals = most_confused(matrix), matrix.sum(1)
    if (left_out := np.count_nonzero(matrix) - np.count_nonzero(matrix.diagonal()) - len(pairs)) > 0:
        title += f", without {left_out:,} more pairs"
    if not pairs:
        return render(titled(600, 60, f"{title}: none"))
    names = [f"{shorten(classes[true], 24)} → {shorten(classes[said], 24)}" for true, said, _ in pairs]
    left, inside = 34 + 7 * max(map(len, names)), BAR * len(pairs)
    width, height = max(left + 520, 9 * len(title)), inside + 84
    figure = titled(width, height, title)
    axes = figure.add_axes((left / width, 44 / height, 1 - (left + 140) / width, inside / height))
    for place, (true, _, count) in enumerate(pairs):
        axes.barh(place, count, color="C3", height=0.68)
        share = f"  {count:,} ({100 * count / totals[true]:.0f} % of {totals[true]:,})"
        axes.text(count, place, share, va="center", fontsize=9, color=PLAIN)
    axes.set_yticks(range(len(pairs)), names, fontsize=9, parse_math=False)
    axes.set(xlim=(0, 1.02 * pairs[0][2]), ylim=(len(pairs) - 0.4, -0.6), xlabel=f"{noun} (true → predicted)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return render(figure)
