"""Drawings as arrays: each function takes plain data and returns one picture, uint8 (H, W, 3)."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = Sequence[tuple[int, float]]

RIGHT, WRONG, PLAIN = "#1a7f37", "#c62828", "#222222"
DPI = 100
GOLDEN = 0.618034  # its multiples modulo 1 are spread evenly
CELL = 150  # height of one picture of a grid in pixels: a 32-pixel picture must be large enough to recognise
LINE = 18  # height of a line of caption in pixels


def shorten(name: str, length: int = 20) -> str:
    """`name`, cut to `length` characters with an ellipsis."""
    return name if len(name) <= length else name[: length - 1] + "…"


def shorten_start(name: str, length: int) -> str:
    """The last `length` characters of `name`, with an ellipsis for what is cut: of a path, the file's name."""
    return name if len(name) <= length else "…" + name[1 - length :]


def side_by_side(views: Sequence[np.ndarray]) -> np.ndarray:
    """Views of one picture (H, W, 3) in a row with thin white gaps; smaller ones in columns about as high as the first.

    All keep their pixels, so what looks smaller is smaller.
    """
    gap = max(1, views[0].shape[1] // 32)
    columns = []
    for _, same in groupby(views, lambda view: view.shape):
        stack = list(same)
        rows = max(1, round((views[0].shape[0] + gap) / (stack[0].shape[0] + gap)))
        columns += [_joined(stack[i : i + rows], gap, axis=0) for i in range(0, len(stack), rows)]
    return _joined(columns, gap, axis=1)


def _joined(parts: list[np.ndarray], gap: int, axis: int) -> np.ndarray:
    """Pictures (H, W, 3) one after the other along `axis`, white in the gaps and beside shorter ones."""
    across = 1 - axis
    longest, padded = max(part.shape[across] for part in parts), []
    for part in parts:
        margins = [(0, 0)] * 3
        margins[axis], margins[across] = (gap, 0), (0, longest - part.shape[across])
        padded.append(np.pad(part, margins, constant_values=255))
    joined = np.concatenate(padded, axis=axis)
    return joined[gap:] if axis == 0 else joined[:, gap:]


def grid(
    pictures: Sequence[np.ndarray],
    captions: Sequence[str],
    title: str,
    colours: Sequence[str] | None = None,
    columns: int | None = None,
) -> np.ndarray:
    """Pictures side by side, each with its caption below.

    Args:
        pictures: uint8 (H, W, 3), all of one size. An empty list draws the title alone.
        captions: one per picture, "" for none; lines are separated by "\\n".
        title: one line above all.
        colours: of each caption and frame, any name that matplotlib knows; None for no frames.
        columns: pictures in a row; None chooses.
    """
    if not pictures:
        return render(titled(600, 60, title))
    height, width = pictures[0].shape[:2]
    # Whole factors keep the pixels of small pictures square and sharp.
    scale = round(CELL / height) if 2 * height <= CELL else CELL / height
    cell, row = max(round(width * scale), 110), round(height * scale)
    below = LINE * max(caption.count("\n") + 1 if caption else 0 for caption in captions) + 14
    columns = columns or fitting_columns(len(pictures), (row + below) / (cell + 14))
    rows = -(-len(pictures) // columns)
    total_width, total_height = max(columns * (cell + 14) + 14, 9 * len(title)), rows * (row + below) + 52
    figure = titled(total_width, total_height, title)
    for index, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = 14 + index % columns * (cell + 14)
        top = 44 + index // columns * (row + below)
        colour = colours[index] if colours else PLAIN
        bounds = (left / total_width, 1 - (top + row) / total_height, cell / total_width, row / total_height)
        axes = figure.add_axes(bounds, xticks=[], yticks=[])
        axes.imshow(picture, interpolation="nearest" if scale > 1 else "antialiased")
        axes.spines[:].set(color=colour, linewidth=3, visible=colours is not None)
        # Class names are the user's: a "$" in them is no formula.
        axes.set_xlabel(caption, color=colour, fontsize=9, labelpad=4, parse_math=False)
    return render(figure)


def fitting_columns(count: int, aspect: float) -> int:
    """Columns of a grid a little wider than high with few gaps in its last row; `aspect` is height/width of a cell."""
    ideal = max(1, round((1.4 * count * aspect) ** 0.5))
    nearby = range(min(ideal + 1, count), max(ideal - 2, 0), -1)
    return min(nearby, key=lambda columns: -count % columns + abs(columns - ideal))


def confusion(
    matrix: np.ndarray, classes: Sequence[str], title: str, columns: str = "predicted", shares: bool = False
) -> np.ndarray:
    """Confusion matrix: counts as numbers (up to 20 classes), shares of the true class as colours.

    Args:
        matrix: counts (C, C), rows are true classes, columns predicted ones.
        classes: C names; up to 50 are written on the axes, numbers stand for more.
        title: one line above all.
        columns: what they are.
        shares: the numbers are shares of the true class in percent, for counts of pixels, which are too long to read.
    """
    size = len(classes)
    side = min(max(48 * size, 320), 1000)
    labels = [shorten(name, 16) for name in classes]
    margin = 50 + 7 * max(map(len, labels)) if size <= 50 else 60
    total_width, total_height = max(side + margin + 110, 9 * len(title)), side + margin + 60
    figure = titled(total_width, total_height, title)
    bottom = (margin + 8) / total_height
    axes = figure.add_axes((margin / total_width, bottom, side / total_width, side / total_height))
    share = matrix / matrix.sum(axis=1, keepdims=True).clip(min=1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xlabel(columns)
    axes.set_ylabel("true")
    if size <= 50:
        fontsize = 9 if size <= 30 else 7
        axes.set_xticks(range(size), labels, rotation=90, fontsize=fontsize, parse_math=False)
        axes.set_yticks(range(size), labels, fontsize=fontsize, parse_math=False)
    if size <= 20:
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if share[row, column] > 0.5 else PLAIN if count else "#b0b0b0"
            text = percent(share[row, column]) if shares else f"{count:,}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    bar = figure.add_axes(((margin + side + 20) / total_width, bottom, 16 / total_width, side / total_height))
    figure.colorbar(image, cax=bar, format=lambda value, _: f"{100 * value:.0f} %").set_label("of the true class")
    return render(figure)


def percent(share: float) -> str:
    """Two digits that say something: 97, 4.3, 0.2; 0 for nothing at all."""
    percent = 100 * share
    return "0" if share == 0 else "<0.1" if percent < 0.05 else f"{percent:.1f}" if percent < 9.95 else f"{percent:.0f}"


def curve(points: Sequence[tuple[int, float]], chance: float, title: str) -> np.ndarray:
    """Accuracy over epochs, with the untrained start and the level of guessing marked.

    Args:
        points: (finished epochs, accuracy 0..1) in order; epoch 0 is the model before training.
        chance: accuracy of guessing, 0..1.
        title: one line above all.
    """
    figure = titled(720, 440, title)
    axes = figure.add_axes((0.1, 0.13, 0.87, 0.74))
    epochs, values = [epoch for epoch, _ in points], [100 * value for _, value in points]
    axes.plot(epochs, values, marker="o", markersize=4, color="#1f5fa8", label="accuracy")
    axes.axhline(100 * chance, color="#888888", linestyle="--", label=f"chance {100 * chance:.1f} %")
    if epochs[0] == 0:
        axes.axhline(values[0], color="#d98200", linestyle=":", label=f"before training {values[0]:.1f} %")
    last = epochs[-1], values[-1]
    axes.annotate(f"{values[-1]:.1f} %", last, xytext=(0, 8), textcoords="offset points", ha="center")
    axes.set(xlabel="finished epochs", ylabel="accuracy (%)", ylim=(0, min(1.15 * max(*values, 100 * chance), 104)))
    axes.set_xlim(epochs[0] - 0.04 * (epochs[-1] or 1), 1.06 * (epochs[-1] or 1))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", framealpha=0.9)
    return render(figure)


def comparison(
    values: Mapping[str, Sequence[float]], curves: Mapping[str, Sequence[Points]], metric: str, monitor: str, title: str
) -> np.ndarray:
    """What training from several starts came to: every run as a dot, mean and standard deviation; and learning curves.

    Args:
        values: start -> the result of each of its runs.
        curves: start -> for each of its runs (finished epochs, value while training); all empty draws no second panel.
        metric: name of the results.
        monitor: name of the curves' values.
        title: one line above all.
    """
    both = any(curve for runs in curves.values() for curve in runs)
    width, height = 1100 if both else 560, max(440, 120 + 46 * len(values))
    figure = titled(width, height, title)
    names = [shorten(start, 28) for start in values]
    margin, bottom, inside = (26 + 8 * max(map(len, names))) / width, 56 / height, 1 - 100 / height
    dots = figure.add_axes((margin, bottom, (0.49 if both else 0.97) - margin, inside))
    _draw_runs(dots, names, list(values.values()))
    dots.set_xlabel(f"{metric}: runs, mean, deviation")
    if both:
        lines = figure.add_axes((0.56, bottom, 0.42, inside))
        _draw_bands(lines, names, list(curves.values()))
        lines.set(xlabel="finished epochs", ylabel=f"{monitor}: mean, lowest to highest run")
    return render(figure)


def _draw_runs(axes: "Axes", names: Sequence[str], values: Sequence[Sequence[float]]) -> None:
    """One row per name: a dot per value, their mean and standard deviation."""
    for row, runs in enumerate(values):
        several, mean = len(runs) > 1, np.mean(runs)
        deviation = np.std(runs, ddof=1) if several else None
        axes.errorbar(mean, row, xerr=deviation, fmt="|", color=PLAIN, markersize=22, capsize=4, zorder=2)
        shifts = np.linspace(-0.1, 0.1, len(runs)) if several else np.zeros(1)  # equal values stay apart
        axes.scatter(runs, row + shifts, color=f"C{row % 10}", s=28, alpha=0.85, zorder=3)
        place = {"xytext": (0, 16), "textcoords": "offset points", "ha": "center"}
        axes.annotate(f"{mean:.4f}", (mean, row), fontsize=9, **place)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.8)
    axes.margins(x=0.12)
    axes.xaxis.get_major_locator().set_params(nbins=5)
    axes.grid(axis="x", alpha=0.25)


def _draw_bands(axes: "Axes", names: Sequence[str], curves: Sequence[Sequence[Points]]) -> None:
    """One line per name: the mean of its curves, within their lowest and highest values."""
    for row, (name, runs) in enumerate(zip(names, curves, strict=True)):
        epochs, mean, low, high = band(runs)
        axes.plot(epochs, mean, color=f"C{row % 10}", label=name, marker="o" if len(epochs) == 1 else None)
        axes.fill_between(epochs, low, high, color=f"C{row % 10}", alpha=0.15, linewidth=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25)
    for text in axes.legend(framealpha=0.9, fontsize=9).get_texts():
        text.set_parse_math(False)


def band(curves: Sequence[Points]) -> tuple[list[int], np.ndarray, np.ndarray, np.ndarray]:
    """Mean, lowest and highest value (E,) at the E epochs that all curves have: one that stopped early ends them all,
    since a mean over fewer runs would jump."""
    tables = [dict(curve) for curve in curves]
    epochs = sorted(set.intersection(*map(set, tables)))
    values = np.array([[table[epoch] for epoch in epochs] for table in tables])
    return epochs, values.mean(0), values.min(0), values.max(0)


def distinct(count: int) -> list[tuple[float, ...]]:
    """That many colours, RGB of 0..1, that differ as well as they can, on white and on dark paper."""
    from matplotlib import colormaps

    if count <= 20:
        return list(colormaps["tab10" if count <= 10 else "tab20"].colors[:count])
    order = np.argsort(np.arange(count) * GOLDEN % 1).argsort()  # so that neighbours, often of one kind, differ most
    return [colormaps["turbo"](place / (count - 1))[:3] for place in order]


def titled(width: float, height: float, title: str) -> "Figure":
    """An empty white figure of that many pixels; the object API leaves pyplot's global state to the user."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    figure.text(0.5, 1 - 14 / height, title, ha="center", va="top", fontsize=11, color=PLAIN, parse_math=False)
    return figure


def render(figure: "Figure") -> np.ndarray:
    """The drawn figure as pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
