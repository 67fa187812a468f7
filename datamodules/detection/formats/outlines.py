"""Run-length encoding (RLE) of object outlines: from polygons, plain or compressed RLE, or instance-id maps."""

from typing import Any

import numpy as np
from pycocotools import mask as coco

FAR = 10  # points this many images away are no points of the image, and cost memory to draw


class Unfit(ValueError):
    """An invalid outline; the message is the reason, to follow "its outline "."""


def run_lengths(outline: Any, height: int, width: int) -> tuple[bytes, int]:
    """Compressed RLE of an outline in any of COCO's forms, and the number of its polygons that were left out.

    Raises:
        Unfit: it has no polygon of three points, is of another size, or covers no pixel.
    """
    if isinstance(outline, dict):
        rle, left_out = _from_runs(outline, height, width), 0
    elif isinstance(outline, list | tuple):
        rle, left_out = _from_polygons(outline, height, width)
    else:
        raise Unfit("is neither a list of polygons nor run lengths")
    if not coco.area(rle):
        raise Unfit("covers no pixel of the image")
    return rle["counts"], left_out


def instances(numbers: np.ndarray) -> dict[int, list[int]]:
    """Uncompressed RLE counts of each number but 0 in a map (H, W), by number, ascending."""
    flat = numbers.ravel(order="F")  # run lengths go down the columns
    starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    ends, values = np.r_[starts[1:], len(flat)], flat[starts]
    order = np.argsort(values, kind="stable")
    found = {}
    for part in np.split(order, np.flatnonzero(np.diff(values[order])) + 1):
        if values[part[0]]:
            edges = np.unique(np.r_[starts[part], ends[part], len(flat)])  # no empty run at the end
            found[int(values[part[0]])] = np.diff(np.r_[0, edges]).tolist()
    return found


def spanned(counts: bytes) -> int:
    """Number of pixels that compressed RLE counts span; -1 for invalid ones.

    Each number is written in groups of 5 bits, low ones first, 48 added; bit 6 says that more follow, bit 5 of the last
    one is the sign. From the fourth number on it is the difference to the number two before.
    """
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((codes & 32) == 0)
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or not len(ends) or ends[-1] != len(codes) - 1:
        return -1
    starts = np.r_[0, ends[:-1] + 1]
    lengths = ends - starts + 1
    if lengths.max() > 8:
        return -1
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((codes & 31) << shifts, starts)
    runs -= ((codes[ends] & 16) > 0) * (1 << 5 * lengths)
    runs[1::2], runs[2::2] = np.cumsum(runs[1::2]), np.cumsum(runs[2::2])
    return int(runs.sum()) if runs.min() >= 0 else -1


def _from_runs(outline: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    size, counts = outline.get("size"), outline.get("counts")
    if size != [height, width]:
        raise Unfit(f"is of size {size}, the image of {[height, width]}")
    if isinstance(counts, str | bytes):
        counts = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
        total, rle = spanned(counts), {"size": [height, width], "counts": counts}
    else:
        plain = isinstance(counts, list) and all(isinstance(run, int) and run >= 0 for run in counts)
        total, rle = (sum(counts) if plain else -1), None
    if total != height * width:
        found = f"span {total:,} pixels" if total >= 0 else "cannot be read"
        raise Unfit(f"has run lengths that {found}, the image has {height * width:,}")
    return rle or coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)


def _from_polygons(outline: list, height: int, width: int) -> tuple[dict[str, Any], int]:
    if not len(outline):
        raise Unfit("is empty")
    try:
        polygons = [np.asarray(points, np.float64) for points in outline]
    except (ValueError, TypeError) as error:
        raise Unfit("has points that are no numbers") from error
    far = FAR * max(height, width)
    for points in polygons:
        if points.ndim != 1 or len(points) % 2:
            raise Unfit("has a polygon that is not x, y, x, y, ...")
        if not (np.abs(points) < far).all():  # NaN too
            raise Unfit("has points that are far outside the image or no numbers")
    valid = [points for points in polygons if len(points) >= 6]
    if not valid:
        raise Unfit("has fewer than three points")
    return coco.merge(coco.frPyObjects(valid, height, width)), len(polygons) - len(valid)
