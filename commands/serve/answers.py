"""Predictions as JSON: class names, scores, boxes, masks as COCO run lengths or PNG, generated images as PNG."""

import base64
import math
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from callbacks.writers.masks import encode_map
from callbacks.writers.panoptic import encode_segments
from callbacks.writers.tags import named
from modules.contracts.palette import RGB
from modules.contracts.palette import palette as default_palette
from modules.metrics.threshold import Threshold

Masks = Literal["rle", "png", "none"]


class Form(NamedTuple):
    """Form of an answer, as a request asks for it.

    Args:
        threshold: lowest score, 0..1, of detections, or that of each class.
        top: number of classes with their scores, best first; null gives all.
        masks: `rle` are COCO's compressed run lengths, `png` images in base64, `none` leaves them out.
    """

    threshold: Threshold = 0.0
    top: int | None = None
    masks: Masks = "rle"


class Meaning(NamedTuple):
    """Names and colors of classes, and their values in PNG masks."""

    classes: Sequence[str]
    palette: Sequence[RGB]
    values: np.ndarray

    @classmethod
    def of(cls, classes: Sequence[str] | None, data: Any) -> "Meaning":
        """Meaning of a task's classes, with what the data of its training says of masks."""
        names = list(classes or [])
        colors = data.palette or default_palette(len(names))
        return cls(names, colors[: len(names)], np.array(data.mask_values or range(len(names))))


def answer(found: dict[str, Any], meaning: Meaning, form: Form) -> dict[str, Any]:
    """The JSON of one prediction."""
    if "boxes" in found:
        return {"objects": _objects(found, meaning, form)}
    if "segments" in found:
        return {"segments": _segments(found, meaning, form)}
    if "mask" in found:
        return _semantic(found["mask"], meaning, form)
    if "generated" in found:
        label = {"label": meaning.classes[found["label"]]} if "label" in found else {}
        return {"image": _base64(png(found["generated"])), **label}
    if "features" in found:
        return {"features": _numbers(found["features"])}
    if "text" in found:
        return {key: found[key] for key in ("text", "alternatives", "finished", "cut") if key in found}
    order = np.argsort(-found["scores"], kind="stable")[: form.top]
    scores = {meaning.classes[i]: _number(found["scores"][i]) for i in order.tolist()}
    if "tags" in found:
        return {"tags": named(found["tags"], meaning.classes), "scores": scores}
    return {"label": meaning.classes[found["label"]], "scores": scores}


def image_of(found: dict[str, Any], meaning: Meaning) -> bytes | None:
    """The prediction as a PNG, where it is one image: segment ids, a semantic map, a generated image; else null."""
    if "segments" in found:
        return _file(encode_segments(found["segments"]))
    if "mask" in found:
        return _file(encode_map(found["mask"], meaning.values, list(meaning.palette)))
    return png(found["generated"]) if "generated" in found else None


def png(image: np.ndarray) -> bytes:
    """Pixels uint8 (H, W, C), of which one or the first three channels are shown, as a PNG file."""
    return _file(Image.fromarray(image[..., 0] if image.shape[2] == 1 else image[..., :3]))


def _objects(found: dict[str, Any], meaning: Meaning, form: Form) -> list[dict[str, Any]]:
    """Detections of the score and more, best first; boxes are [left, top, right, bottom] in pixels."""
    objects = []
    for i in np.argsort(-found["scores"], kind="stable").tolist():
        label, least = int(found["labels"][i]), form.threshold
        if found["scores"][i] < (least if isinstance(least, int | float) else least[label]):
            continue
        one: dict[str, Any] = {"label": meaning.classes[label], "score": _number(found["scores"][i])}
        one["box"] = _numbers(found["boxes"][i])
        if "rle" in found and form.masks != "none":
            one["mask"] = _instance(found["rle"][i], form.masks)
        if "keypoints" in found:
            one["keypoints"] = [_numbers(point) for point in found["keypoints"][i]]
        objects.append(one)
    return objects


def _segments(found: dict[str, Any], meaning: Meaning, form: Form) -> list[dict[str, Any]]:
    """Segments of things and stuff, which do not overlap, in the order of their ids, from 1 on."""
    segments = []
    for number, (label, score) in enumerate(zip(found["labels"].tolist(), found["scores"], strict=True), 1):
        one: dict[str, Any] = {"id": number, "label": meaning.classes[label], "score": _number(score)}
        if form.masks != "none":
            one["mask"] = _instance(coco.encode(np.asfortranarray(found["segments"] == number, np.uint8)), form.masks)
        segments.append(one)
    return segments


def _instance(rle: Any, masks: Masks) -> Any:
    if masks == "png":
        return _base64(_file(Image.fromarray(255 * coco.decode(rle)).convert("1")))
    return _text(rle)


def _semantic(mask: np.ndarray, meaning: Meaning, form: Form) -> dict[str, Any]:
    counts = np.bincount(mask.ravel(), minlength=len(meaning.classes))
    shown = np.flatnonzero(counts[: len(meaning.classes)]).tolist()
    found: dict[str, Any] = {"shares": {meaning.classes[i]: counts[i] / mask.size for i in shown}}
    if form.masks == "png":
        found["mask"] = _base64(_file(encode_map(mask, meaning.values, list(meaning.palette))))
        found["values"] = dict(zip(meaning.classes, meaning.values.tolist(), strict=True))
    elif form.masks == "rle":
        parts = {i: coco.encode(np.asfortranarray(mask == i, np.uint8)) for i in shown}
        found["masks"] = {meaning.classes[i]: _text(rle) for i, rle in parts.items()}
    return found


def _text(rle: Any) -> dict[str, Any]:
    counts = rle["counts"]
    return {"size": [*map(int, rle["size"])], "counts": counts.decode() if isinstance(counts, bytes) else counts}


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values.ravel()]


def _number(value: Any) -> float | None:
    """A number with the digits that float32 can represent; JSON has none that is not finite."""
    return float(str(np.float32(value))) if math.isfinite(value) else None


def _file(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
