"""Predictions as a page shows them: bars, drawn boxes and masks, texts with their attention, generated images."""

from typing import Any

import numpy as np

from callbacks.figures.base import shorten
from callbacks.figures.objects import draw_objects, object_palette, stacked
from callbacks.figures.overlays import class_legend, overlay
from callbacks.figures.sentences import alignments, lit
from callbacks.figures.strips import strips
from callbacks.writers.images import resized
from commands.predictor import Predictor
from commands.serve.answers import Meaning
from datamodules.letterbox import resize_mask
from modules.contracts import IGNORE
from modules.gan.noise import keyed_noise
from modules.metrics.threshold import USUAL

LARGEST, SMALLEST = 1200, 400  # pixels of the longer side of a drawing


def kind_of(predictor: Predictor, found: dict[str, Any]) -> str:
    """Kind of the page by the keys of a prediction: `objects`, `mask`, `styles`, `text`, ..."""
    kinds = {
        "boxes": "objects",
        "mask": "mask",
        "segments": "mask",
        "styles": "styles",
        "generated": "generated",
        "features": "features",
        "text": "text",
    }
    return next((kind for key, kind in kinds.items() if key in found), "labels")


def labels(found: dict[str, Any], classes: list[str]) -> dict[str, float]:
    """Probability of each class."""
    return dict(zip(classes, found["scores"].tolist(), strict=True))


def objects(
    image: np.ndarray, found: dict[str, Any], classes: list[str], threshold: float
) -> tuple[np.ndarray, list[list[Any]]]:
    """The image with its detections of that score and more, and a row for each: class, score in percent, box."""
    factor = magnification(image)
    image = image.repeat(factor, 0).repeat(factor, 1)
    sure = np.flatnonzero(found["scores"] >= threshold)
    chosen = sure[np.argsort(-found["scores"][sure], kind="stable")].tolist()
    boxes, numbers = found["boxes"][chosen].reshape(-1, 4), found["labels"][chosen].tolist()
    percent = [round(100 * float(found["scores"][i]), 1) for i in chosen]
    shown = stacked([found["rle"][i] for i in chosen], image.shape[:2]) if "rle" in found else None
    tags = [f"{shorten(classes[n])} {score:.0f}" for n, score in zip(numbers, percent, strict=True)]
    drawn = draw_objects(image, factor * boxes, numbers, object_palette(len(classes)), tags, shown)
    rows = zip(numbers, percent, boxes.round().astype(int).tolist(), strict=True)
    return drawn, [[classes[n], score, ", ".join(map(str, box))] for n, score, box in rows]


def semantic(image: np.ndarray, found: dict[str, Any], meaning: Meaning) -> tuple[np.ndarray, dict[str, float]]:
    """The map over the image, with a legend, and the share of the pixels of each class, also of segments."""
    classes = list(meaning.classes)
    mask = class_map(found) if "segments" in found else found["mask"]
    counts = np.bincount(mask.ravel(), minlength=len(classes))[: len(classes)]
    factor = min(magnification(image), LARGEST / max(mask.shape))
    shape = (max(1, round(mask.shape[0] * factor)), max(1, round(mask.shape[1] * factor)))
    drawn = overlay(resized(image, shape), resize_mask(mask, shape), meaning.palette)
    legend = class_legend(counts, classes, meaning.palette)
    shares = {name: count / mask.size for name, count in zip(classes, counts.tolist(), strict=True) if count}
    return strips([[drawn]], [""], [""], legend, ""), shares


def class_map(found: dict[str, Any]) -> np.ndarray:
    """The class of each pixel of predicted segments, uint8 (h, w), 255 for none."""
    return np.append(np.uint8(IGNORE), found["labels"].astype(np.uint8))[found["segments"]]


def caption(predictor: Predictor, image: np.ndarray, content: bytes) -> tuple[str, list[tuple[np.ndarray, str]]]:
    """The caption of an image, and for each piece of it the image, bright where the network looked, and the piece."""
    found = predictor.explain(predictor.prepare(content))
    factor = magnification(image)
    shown = image.repeat(factor, 0).repeat(factor, 1)
    maps = [] if found.get("attention") is None else found["attention"]
    return found["text"], [(lit(shown, one), piece) for one, piece in zip(maps, found.get("pieces", ()), strict=False)]


def translate(predictor: Predictor, text: str) -> tuple[str, np.ndarray | None]:
    """The translation of a sentence, and the attention of its pieces (rows) to those of the source (columns)."""
    found = predictor.explain(predictor.prepare(text))
    if found.get("attention") is None or not found["pieces"]:
        return found["text"], None
    sides = [found["source_pieces"]], [found["pieces"]]
    return found["text"], alignments([found["attention"]], *sides, "attention to the pieces of the source")


def generate(predictor: Predictor, first: int, second: int, share: float, label: str | None) -> np.ndarray:
    """A generated image between those of two numbers, 0 and more.

    Noise is interpolated along the great circle (White 2016), because normal noise has a typical length.

    Args:
        predictor: of a generator.
        first, second: the numbers.
        share: 0 gives the first image, 1 the second.
        label: class; null is that of the number.
    """
    one, other = keyed_noise([(predictor.data.seed, n) for n in (first, second)], predictor.task.latent).numpy()
    angle = np.arccos(np.clip(one @ other / np.linalg.norm(one) / np.linalg.norm(other), -1, 1))
    weights = (1 - share, share) if angle < 1e-4 else np.sin([(1 - share) * angle, share * angle]) / np.sin(angle)
    noise = (weights[0] * one + weights[1] * other).tolist()
    sample = {"noise": noise, "label": label} if label else noise
    (found,) = predictor.predict([predictor.prepare(sample)])
    image = found["generated"]
    image = np.repeat(image, 3, 2) if image.shape[2] == 1 else image[..., :3]
    factor = magnification(image)
    return image.repeat(factor, 0).repeat(factor, 1)


def magnification(image: np.ndarray) -> int:
    """Factor by which a small image (H, W, 3) is enlarged to be seen."""
    return max(1, round(SMALLEST / max(image.shape[:2])))


def usual_threshold(predictor: Predictor) -> float:
    """Score from which on detections are drawn: that of the best F1 in validation, where there was one.

    Of those of classes the median.
    """
    return float(np.median(predictor.threshold or USUAL))
