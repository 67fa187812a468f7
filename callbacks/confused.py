"""Which classes are taken for which."""

from collections.abc import Sequence

import numpy as np

from callbacks.drawing import PLAIN, render, shorten, titled

MOST = 20  # pairs
LINE = 24  # pixels a pair


def most_confused(matrix: np.ndarray, most: int = MOST) -> list[tuple[int, int, int]]:
    """The mistakes made most often, as (true class, predicted class, count), the most frequent first.

    Args:
        matrix: counts (C, C), rows true, columns predicted.
        most: how many at most.
    """
    wrong = matrix - np.diag(matrix.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = (divmod(int(cell), len(matrix)) for cell in order)
    return [(true, said, int(wrong[true, said])) for true, said in pairs if wrong[true, said]]


def draw_confused(matrix: np.ndarray, classes: Sequence[str], title: str) -> np.ndarray:
    """Bars of the mistakes made most often; `matrix` as in `most_confused`."""
    pairs, totals = most_confused(matrix), matrix.sum(1)
    if not pairs:
        return render(titled(600, 60, f"{title}: none"))
    names = [f"{shorten(classes[true], 24)} → {shorten(classes[said], 24)}" for true, said, _ in pairs]
    left, inside = 34 + 7 * max(map(len, names)), LINE * len(pairs)
    width, height = max(left + 520, 9 * len(title)), inside + 84
    figure = titled(width, height, title)
    axes = figure.add_axes((left / width, 44 / height, 1 - (left + 140) / width, inside / height))
    for place, (true, _, count) in enumerate(pairs):
        axes.barh(place, count, color="C3", height=0.68)
        share = f"  {count:,} ({100 * count / totals[true]:.0f} % of {totals[true]:,})"
        axes.text(count, place, share, va="center", fontsize=9, color=PLAIN)
    axes.set_yticks(range(len(pairs)), names, fontsize=9, parse_math=False)
    axes.set(xlim=(0, 1.02 * pairs[0][2]), ylim=(len(pairs) - 0.4, -0.6), xlabel="videos (true → predicted)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return render(figure)
