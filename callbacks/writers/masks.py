"""Semantic maps as files: a palette PNG and an overlay per image, and the share of pixels per class."""

import csv
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from torch import Tensor

from callbacks.figures.overlays import overlay, palette_of
from callbacks.writers.base import Source
from callbacks.writers.images import ImageFiles, originals
from callbacks.writers.tables import Table, open_text
from modules.contracts import Batch, Prediction, writing
from modules.contracts.palette import palette

ENDINGS = {"masks": ".png", "overlays": ".jpg", "probabilities": ".npz"}


class MaskFiles(Table):
    """Write predicted maps at the original resolution, in folders beside the table; see `ImageFiles`.

    `masks/`: PNG of mode P with the pixel values and the palette of the data's own masks;
    `classes.csv`: these values, classes and colors, so that the maps can be read as masks. `overlays/`: the map over
    the image, at most 2,048 pixels wide and high. `probabilities/`, where the task returns them:
    npz with `probabilities` float32 (C, h, w) and `classes`.
    """

    stages = ("predict",)  # validation and test answer with maps of the network's size

    def __init__(self, source: Source) -> None:
        classes, data = source.task.classes, source.trainer.datamodule
        columns = ["path", *(f"share({name})" for name in classes)]
        super().__init__(source.folder / "predict.csv", source.rank, columns)
        self.classes, self.backbone, self.data = classes, source.task.backbone, data
        self.palette = palette_of(data, classes)[: len(classes)]
        self.values = np.array(getattr(data, "mask_values", None) or range(len(classes)))
        self.files = ImageFiles(source.folder, source.rank, ENDINGS)

    def add(self, batch: Batch, prediction: Prediction) -> None:
        images, masks = originals(batch, self.backbone, self.data), [m.cpu().numpy() for m in prediction["mask"]]
        scores = prediction.get("probabilities") or [None] * len(masks)
        for name, image, mask, of_classes in zip(batch["id"], images, masks, scores, strict=True):
            self._write_maps(name, image, mask, of_classes)
            self.write([[name, *self._shares(mask)]])

    def _write_maps(self, name: str, image: np.ndarray, mask: np.ndarray, scores: Tensor | None) -> None:
        with self.files.open("masks", name) as file:
            encode_map(mask, self.values, self.palette).save(file, "PNG")
        shown = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        drawn = overlay(image, shown, self.palette)
        with self.files.open("overlays", name) as file:
            Image.fromarray(drawn).save(file, "JPEG", quality=90)
        if scores is not None:
            with self.files.open("probabilities", name) as file:
                np.savez(file, probabilities=scores.float().cpu().numpy(), classes=np.array(self.classes))

    def merge(self, world: int) -> list[Path]:
        super().merge(world)
        return [self.path, self._table(), *self.files.finalize(self.names)]

    def _table(self) -> Path:
        """Write value and color of each class."""
        path = self.path.with_name("classes.csv")
        rows = zip(self.values.tolist(), self.classes, self.palette, strict=True)
        with writing(path), open_text(path, "w") as file:
            header = ("value", "class", "red", "green", "blue")
            csv.writer(file).writerows([header, *((value, name, *color) for value, name, color in rows)])
        return path

    def _shares(self, mask: np.ndarray) -> list[str]:
        counts = np.bincount(mask.ravel(), minlength=len(self.classes))
        return [f"{count / mask.size:.6f}" for count in counts[: len(self.classes)]]


def encode_map(mask: np.ndarray, values: np.ndarray, colors: list[tuple[int, int, int]]) -> Image.Image:
    """A map as an image of mode P, or, for values above 255, of 16 bits.

    Args:
        mask: uint8 (H, W), classes.
        values: int (C,), pixel value of each class.
        colors: color of each class; other values have Pascal VOC's colors, to complete the palette.
    """
    if values.max() > 255:
        return Image.fromarray(values.astype(np.uint16)[mask])
    table = np.array(palette(256), np.uint8)
    table[values] = colors
    image = Image.fromarray(values.astype(np.uint8)[mask])
    image.putpalette(table.tobytes())
    return image
