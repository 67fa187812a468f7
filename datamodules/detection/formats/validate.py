"""Validation of raw annotations against their images, once: sizes, boxes and outlines."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco

from datamodules.detection.formats.boxes import beyond, clip, misread
from datamodules.detection.formats.coco_keypoints import beyond_box
from datamodules.detection.formats.images import OnError, first_of, measure
from datamodules.detection.formats.outlines import Unfit, run_lengths
from datamodules.detection.formats.raw import Object, Raw, corners
from datamodules.detection.objects import ObjectFiles, packed
from datamodules.segmentation.files import encoded
from datamodules.source import Files
from modules.contracts import DataError

LARGEST = float(np.finfo(np.float32).max)
Wrong = dict[int, str]
"""Reasons for leaving objects out, by index."""


class Validated(NamedTuple):
    """Valid images and objects, the rows of these images in `Raw.images`, and lines about the rest."""

    source: ObjectFiles
    rows: list[int]
    dropped: list[str]
    skipped: list[str]
    notes: list[str]


def validate(raw: Raw, root: Path, masks: bool, on_error: OnError) -> Validated:
    """Measure the images, clip the boxes, encode the outlines, and leave out invalid objects.

    Raises:
        DataError: images that are missing, damaged or of another size than annotated, unless `on_error` is skip.
    """
    if raw.orphans and on_error == "raise":
        raise DataError(f"{first_of(raw.orphans)}: mend the file, or set --data.on_error skip")
    shapes, problems = measure(raw.images, on_error)
    rows = np.array([o.row for o in raw.objects], np.int64)
    sizes = shapes[rows]
    wrong = {k: f"its image {problems[row]}" for k, row in enumerate(rows.tolist()) if row in problems}
    wrong |= {k: o.flaw for k, o in enumerate(raw.objects) if o.flaw and k not in wrong}
    boxes, notes = _boxes(raw, sizes, wrong)
    counts, remarks = _outlines(raw, sizes, masks, wrong, boxes)
    area = _areas(raw.objects, sizes, boxes, counts)

    kept = [k for k in range(len(rows)) if k not in wrong]
    kept = [kept[i] for i in np.argsort(rows[kept], kind="stable")]
    images = [row for row in range(len(raw.images)) if row not in problems]
    files = Files(root, encoded(root, (raw.images[row].path for row in images)), None)
    source = ObjectFiles(
        files,
        shapes[images],
        np.searchsorted(rows[kept], [*images, len(raw.images)]),
        boxes[kept],
        np.array([raw.objects[k].label for k in kept], np.int32),
        np.array([raw.objects[k].crowd for k in kept], bool),
        area[kept],
        packed([counts[k] for k in kept]) if masks else None,
        *_keypoints(raw, kept, boxes, remarks),
    )
    dropped = raw.orphans + [f"{raw.where(k)}: {wrong[k]}" for k in sorted(wrong)]
    skipped = [f"{raw.images[row].where} {problems[row]}" for row in sorted(problems)]
    return Validated(source, images, dropped, skipped, notes + remarks)


def _boxes(raw: Raw, sizes: np.ndarray, wrong: Wrong) -> tuple[np.ndarray, list[str]]:
    """Clipped boxes float32 (M, 4), and notes about them; adds to `wrong`."""
    given = raw.boxes()
    sound = np.array([k not in wrong for k in range(len(given))], bool)
    limits = np.ones_like(sizes) if raw.fractions else sizes
    habit = misread(given[sound], raw.form, limits[sound])
    notes = [f"{raw.file}: {habit}"] if habit else []
    found = corners(given, raw.form) * (sizes[:, [1, 0, 1, 0]] if raw.fractions else 1)
    clipped, unfit = clip(found, sizes)
    for k, reason in unfit.items():
        if k not in wrong and raw.objects[k].box is not None:
            wrong[k] = f"box {_shown(raw.objects[k].box)} {reason}"
    out = [k for k in np.flatnonzero(beyond(found, sizes)).tolist() if k not in wrong]
    if out:
        notes.append(f"boxes clipped because they reached out of their images: {len(out):,}, first {raw.where(out[0])}")
    return clipped, notes


def _outlines(
    raw: Raw, sizes: np.ndarray, masks: bool, wrong: Wrong, boxes: np.ndarray
) -> tuple[dict[int, bytes], list[str]]:
    """RLE by index, and notes; only of objects without box if no masks are wanted.

    Adds to `wrong`; gives `boxes` to objects that have none.
    """
    counts, remarks, shapes = {}, [], sizes.tolist()
    for k, o in enumerate(raw.objects):
        if k in wrong or not (masks or o.box is None):
            continue
        if o.outline is None:
            wrong[k] = "it has no outline" if o.box is not None else "it has neither box nor outline"
            continue
        height, width = shapes[k]
        outline = [_scaled(points, height, width) for points in o.outline] if raw.fractions else o.outline
        try:
            counts[k], parts = run_lengths(outline, height, width)
        except Unfit as error:
            wrong[k] = f"its outline {error}"
            continue
        if parts:
            remarks.append(raw.where(k))
        if o.box is None:
            left, top, *sides = coco.toBbox({"size": [height, width], "counts": counts[k]})
            boxes[k] = left, top, left + sides[0], top + sides[1]
    said = (
        f"outlines that lost parts of fewer than three points: {len(remarks):,}, first {remarks[0]}" if remarks else ""
    )
    return counts, [said] * bool(said)


def _keypoints(raw: Raw, kept: list[int], boxes: np.ndarray, remarks: list[str]) -> list[np.ndarray]:
    """Keypoints float32 (M, K, 3) of the objects that are kept, where the files have some; adds to `remarks`."""
    found = [points for k in kept if (points := raw.objects[k].keypoints) is not None]
    if not found:
        return []
    points = np.stack(found)
    if out := np.flatnonzero(beyond_box(points, boxes[kept]).any(1)).tolist():
        where = f"{len(out):,} of {len(kept):,}, first {raw.where(kept[out[0]])}"
        remarks.append(f"objects with keypoints outside of their box, which are kept: {where}")
    return [points]


def _areas(objects: list[Object], sizes: np.ndarray, boxes: np.ndarray, counts: dict[int, bytes]) -> np.ndarray:
    """float32 (M,): as annotated, else of the mask, else of the box."""
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for k, o in enumerate(objects):
        if isinstance(o.area, int | float) and 0 <= o.area <= LARGEST:
            area[k] = o.area
        elif k in counts:
            area[k] = coco.area({"size": sizes[k].tolist(), "counts": counts[k]})
    return area


def _scaled(points: Any, height: int, width: int) -> np.ndarray:
    """A polygon in fractions of the image, in pixels."""
    points = np.array(points, np.float64)
    points[0::2] *= width
    points[1::2] *= height
    return points


def _shown(value: Any) -> str:
    if not isinstance(value, list | tuple):
        return repr(value)
    return f"[{', '.join(f'{part:g}' if isinstance(part, float) else str(part) for part in value)}]"
