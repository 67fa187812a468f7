"""An exported file in place of a checkpoint: the same interface as `Predictor`, on onnxruntime."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from commands.export.runtime import BATCH, OnnxModel
from datamodules.image_files import decoded
from datamodules.inspection import MAX_PIXELS
from modules.contracts import DataError


class ExportedPredictor:
    """Predictions of images by an ONNX file that `export` wrote; see `commands.predictor.Predictor`.

    Args:
        path: the file.

    Raises:
        DataError: no such file, no ONNX file, one of another program, or one that takes no images.
        ConfigError: onnxruntime is not installed.
    """

    kind = "image"
    conditions: None = None

    def __init__(self, path: Path):
        self.model, self.checkpoint, self.max_pixels = OnnxModel(path), path, MAX_PIXELS
        if self.model.kind != "image":
            raise DataError(
                f"{path} takes {self.model.kind}, but of files only those on images are served: give --ckpt_path"
            )
        meaning = self.model.metadata["train"]["meaning"]
        colors, values = meaning.get("palette"), meaning.get("mask_values")
        self.data = SimpleNamespace(palette=colors, mask_values=values, batch_size=BATCH)
        self.name: str = self.model.task
        self.classes: list[str] | None = self.model.classes
        self.threshold: float | None = self.model.metadata["threshold"]

    def limit_pixels(self, max_pixels: int) -> None:
        """Set the pixels that an image may have."""
        self.max_pixels = max_pixels

    def prepare(self, sample: Any, name: str | None = None) -> np.ndarray:
        """The pixels of an image file's content, uint8 RGB (H, W, 3).

        Raises:
            DataError: it cannot be read, or has too many pixels.
        """
        if not isinstance(sample, bytes):
            raise DataError(f"{name or 'image'} is {type(sample).__name__}, but this file takes images")
        return decoded(sample, name or "image", self.max_pixels)

    def predict(self, prepared: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """Predictions of prepared images."""
        return self.model(prepared)
