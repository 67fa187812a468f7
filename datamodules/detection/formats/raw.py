"""Raw annotations as read from files, not yet checked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

Form = Literal["xyxy", "xywh", "cxcywh"]
"""Corners; a corner and the sides; the center and the sides."""

NOT_A_BOX = (float("nan"),) * 4


class Image(NamedTuple):
    """An annotated image.

    Args:
        where: its name in messages, with the place that lists it.
        path: of its file; null when there is none.
        file: the annotation file that its objects come from.
        shape: height and width as annotated, if they are.
        number: its id in the annotations, if that is a number.
        flaw: a further problem, such as a mask that cannot be read.
    """

    where: str
    path: Path | None
    file: str
    shape: tuple[int, int] | None = None
    number: int | None = None
    flaw: str | None = None


class Object(NamedTuple):
    """An annotated object.

    Args:
        row: index of its image in the split.
        index: its place in the file, from 0, or the line, from 1.
        box: as in the file; anything but four numbers is found later; null to take it from the outline.
        label: class index.
        crowd: a region that evaluation ignores.
        area: in square pixels; null if the file has none.
        outline: polygons or run-length encoding as in COCO; null for none.
        flaw: the reason why it cannot be used, if known already.
        keypoints: float32 (K, 3), x, y and visibility flag, where the file has keypoints.
    """

    row: int
    index: int
    box: Any
    label: int
    crowd: bool = False
    area: float | None = None
    outline: Any = None
    flaw: str | None = None
    keypoints: np.ndarray | None = None


@dataclass
class Raw:
    """The images and objects of one split as its files have them.

    Args:
        file: name of its file or folder in messages.
        unit: name of an object within its file in messages, `{}` being its index.
        form: meaning of the four numbers of a box.
        fractions: true if boxes and polygons are in fractions of the image instead of pixels.
        orphans: a sentence for each object without image.
    """

    file: str
    unit: str
    form: Form = "xyxy"
    fractions: bool = False
    images: list[Image] = field(default_factory=list)
    objects: list[Object] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)

    def relabel(self, labels: dict[int, int]) -> None:
        """Replace the label of each object by that which `labels` gives for it, 0 by default."""
        self.objects = [o._replace(label=labels.get(o.label, 0)) for o in self.objects]

    def where(self, k: int) -> str:
        """Name of an object in messages."""
        o = self.objects[k]
        return f"{self.images[o.row].file} {self.unit.format(o.index)}"

    def boxes(self) -> np.ndarray:
        """float64 (M, 4) as in the files; NaN where there are not four numbers."""
        values = [NOT_A_BOX if o.box is None else o.box for o in self.objects]
        try:
            boxes = np.array(values, np.float64)
        except (ValueError, TypeError, OverflowError):
            boxes = np.array([])
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            boxes = np.array([_four_numbers(value) for value in values], np.float64).reshape(-1, 4)
        return boxes


def corners(boxes: np.ndarray, form: Form) -> np.ndarray:
    """Boxes (M, 4) of any form as xyxy."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if form == "xyxy":
        return boxes
    if form == "xywh":
        return np.concatenate([first, first + second], 1)
    return np.concatenate([first - second / 2, first + second / 2], 1)


def number(text: str | None) -> float | str | None:
    """A text as a number, also with a decimal comma; as it is where it is none."""
    try:
        return float(text.replace(",", ".", 1) if text and "." not in text else text or "")
    except ValueError:
        return text


def _four_numbers(value: Any) -> Sequence[float]:
    try:
        box = [float(part) for part in value]
    except (ValueError, TypeError, OverflowError):
        return NOT_A_BOX
    return box if len(box) == 4 else NOT_A_BOX
