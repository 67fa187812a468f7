"""Detections and ground truth of one image as arrays, and packing of many images into a few tensors."""

from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from faster_coco_eval.core import mask as coco_mask
from torch import Tensor

from modules.contracts import Prediction

Kind = Literal["boxes", "masks"]
Rle = dict[str, Any]
"""A compressed COCO RLE: {"size": [height, width], "counts": bytes}."""

EMPTY = {
    "found": torch.zeros(0, 6),  # x1, y1, x2, y2, score, label
    "true": torch.zeros(0, 7),  # x1, y1, x2, y2, label, crowd, area
    "images": torch.zeros(0, 3, dtype=torch.int64),  # place, detections, true objects
    "sizes": torch.zeros(0, 2, dtype=torch.int64),  # height, width; of images with masks
    "lengths": torch.zeros(0, dtype=torch.int32),  # bytes of each RLE, of an image's detections, then of its truth
    "codes": torch.zeros(0, dtype=torch.uint8),  # these bytes
}
"""The tensors of no images. `place` orders the images; those of one place stay in the order they came in."""


class Image(NamedTuple):
    """Detections and ground truth of one image.

    Args:
        boxes: float64 (D, 4), x, y, width, height in pixels; the highest score first.
        scores: float64 (D,).
        labels: int64 (D,).
        true_boxes: float64 (G, 4), as `boxes`.
        true_labels: int64 (G,).
        crowd: bool (G,), regions of objects that are not counted.
        area: float64 (G,), of the annotations, in pixels.
        rle: D masks; none when there are only boxes.
        true_rle: G masks; none when there are only boxes.
        size: height and width; 0, 0 when there are only boxes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    true_boxes: np.ndarray
    true_labels: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    rle: list[Rle] = []
    true_rle: list[Rle] = []
    size: tuple[int, int] = (0, 0)

    def overlaps(self, kind: Kind) -> np.ndarray:
        """IoU of each detection with each true object, whatever their classes, float64 (D, G).

        With a crowd it is the share of the detection that lies inside, as in COCO.
        """
        if not len(self.labels) or not len(self.true_labels):
            return np.zeros((len(self.labels), len(self.true_labels)))
        found, true = (self.rle, self.true_rle) if kind == "masks" else (self.boxes, self.true_boxes)
        return np.asarray(coco_mask.iou(found, true, self.crowd.astype(int).tolist()))

    def of_class(self, label: int, maximum: int) -> "Image":
        """Objects of one class, and its `maximum` detections of the highest scores."""
        found, true = np.flatnonzero(self.labels == label)[:maximum], np.flatnonzero(self.true_labels == label)
        return self._replace(
            **{name: getattr(self, name)[found] for name in ("boxes", "scores", "labels")},
            **{name: getattr(self, name)[true] for name in ("true_boxes", "true_labels", "crowd", "area")},
            rle=[self.rle[i] for i in found] if self.rle else [],
            true_rle=[self.true_rle[i] for i in true] if self.true_rle else [],
        )


def pack(predictions: Prediction, truths: list[dict[str, Any]], masks: bool) -> dict[str, Tensor]:
    """Pack a batch into tensors on the CPU, those of EMPTY; without masks only the first three, of no images none.

    Args:
        predictions: lists over images: `boxes`, `scores`, `labels` and, with masks, `rle`.
        truths: a dict for each image: `boxes`, `labels`, `crowd`, `area` and, with masks, `rle`.
        masks: pack masks too.

    Raises:
        ValueError: the lists of an image differ in length, or its masks in size.
    """
    more = ("rle",) if masks else ()
    found = {key: predictions[key] for key in ("boxes", "scores", "labels", *more)}
    true = {key: [truth[key] for truth in truths] for key in ("boxes", "labels", "crowd", "area", *more)}
    counts = [[0] * len(truths), _counts(found, len(truths)), _counts(true, len(truths))]
    if not truths:
        return {}
    codes = _pack_masks(found.pop("rle"), true.pop("rle")) if masks else {}
    tables = {"found": _table(found), "true": _table(true)}
    return tables | {"images": torch.tensor(counts).T} | codes


def unpack(packed: dict[str, Tensor]) -> list[Image]:
    """The images of `pack`, or of several packs one behind the other, in order of their places."""
    arrays = {name: tensor.numpy() for name, tensor in packed.items()}
    places, counts = arrays["images"][:, 0], arrays["images"][:, 1:]
    found, true = (_split(arrays[name], counts[:, i]) for i, name in enumerate(("found", "true")))
    masks = _unpack_masks(arrays, counts) if "codes" in arrays else [([], [], (0, 0))] * len(places)
    images = [_image(*tables, *rest) for *tables, rest in zip(found, true, masks, strict=True)]
    return [images[i] for i in np.argsort(places, kind="stable")]


def _counts(lists: dict[str, list], images: int) -> list[int]:
    """Number of objects of each image, validated across all lists."""
    lengths = {key: [len(entry) for entry in entries] for key, entries in lists.items()}
    for key, length in lengths.items():
        if len(length) != images or length != lengths["boxes"]:
            raise ValueError(
                f"{images} images have {lengths['boxes']} `boxes`, but {length} `{key}`; give as many of each"
            )
    return lengths["boxes"]


def _table(columns: dict[str, list[Tensor]]) -> Tensor:
    """float32 (N, columns) on the CPU, in one transfer."""
    parts = [torch.cat(entries).detach().float() for entries in columns.values()]
    return torch.cat([part if part.ndim == 2 else part[:, None] for part in parts], 1).cpu()


def _pack_masks(found: list[list[Rle]], true: list[list[Rle]]) -> dict[str, Tensor]:
    images = [[*pair[0], *pair[1]] for pair in zip(found, true, strict=True)]
    sizes = [sorted({tuple(mask["size"]) for mask in masks}) or [(0, 0)] for masks in images]
    for i, different in enumerate(sizes):
        if len(different) > 1:
            raise ValueError(
                f"image {i} of the batch has masks of {different} pixels (height, width); "
                "give those of detections and truth in pixels of the original image"
            )
    codes = [mask["counts"] for masks in images for mask in masks]
    return {
        "sizes": torch.tensor([different[0] for different in sizes]),
        "lengths": torch.tensor([len(code) for code in codes], dtype=torch.int32),
        "codes": torch.from_numpy(np.frombuffer(b"".join(codes), np.uint8).copy()),
    }


def _unpack_masks(arrays: dict[str, np.ndarray], counts: np.ndarray) -> list[tuple[list[Rle], list[Rle], tuple]]:
    codes, ends = arrays["codes"].tobytes(), arrays["lengths"].cumsum(dtype=np.int64).tolist()
    each = iter([codes[start:end] for start, end in pairwise([0, *ends])])
    images = []
    for size, pair in zip(arrays["sizes"].tolist(), counts.tolist(), strict=True):
        found, true = ([{"size": size, "counts": next(each)} for _ in range(count)] for count in pair)
        images.append((found, true, tuple(size)))
    return images


def _split(table: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    return np.split(table, counts.cumsum()[:-1]) if len(counts) else []


def _image(found: np.ndarray, true: np.ndarray, rle: list[Rle], true_rle: list[Rle], size: tuple) -> Image:
    order = np.argsort(-found[:, 4], kind="stable")
    found, true = found[order].astype(np.float64), true.astype(np.float64)
    return Image(
        boxes=_xywh(found),
        scores=found[:, 4],
        labels=found[:, 5].astype(np.int64),
        true_boxes=_xywh(true),
        true_labels=true[:, 4].astype(np.int64),
        crowd=true[:, 5] > 0,
        area=true[:, 6],
        rle=[rle[i] for i in order] if rle else [],
        true_rle=true_rle,
        size=size,
    )


def _xywh(table: np.ndarray) -> np.ndarray:
    """A box that is reversed has no width or height, and so overlaps with nothing."""
    return np.concatenate([table[:, :2], (table[:, 2:4] - table[:, :2]).clip(0)], 1)
