"""Semantic maps as files: a palette PNG and an overlay of each picture, and which share of it each class takes."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import cv2
import numpy as np
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch import Tensor

from callbacks.outcomes import arrays, visible
from callbacks.overlays import overlay, palette_of
from callbacks.prediction_files import Table, open_text
from modules import colours
from modules.contracts import Batch, Prediction, writing

ENDINGS = {"masks": ".png", "overlays": ".jpg", "probabilities": ".npz"}


class MaskFiles(Table):
    """Predicted maps in pixels of the original pictures, in folders beside the table.

    `masks/`: PNG of mode P, a pixel's value is its class and the palette the data's. `overlays/`: the map over the
    picture as the network saw it, brought back to the original size. `probabilities/`, where the task gives them: npz
    with `probabilities` float32 (C, h, w) and `classes`. Each file has its picture's path below these folders, with
    another ending; where pictures differ only in their ending, and until all are done, that is kept too: a.jpg.png.
    """

    def __init__(self, trainer: Trainer, task: LightningModule, batch: Batch) -> None:
        folder, classes = Path(trainer.default_root_dir) / "predictions", task.classes
        super().__init__(folder / "predict.csv", trainer.global_rank, ["path", *(f"share({c})" for c in classes)])
        self.folder, self.classes, self.backbone = folder, classes, task.backbone
        self.palette, self.rank = palette_of(trainer.datamodule, classes), trainer.global_rank
        self.kinds: dict[str, None] = {}  # of files, in the order in which they appeared

    @staticmethod
    def fits(outputs: Prediction) -> bool:
        return isinstance(outputs.get("mask"), list)  # validation and test answer with tensors of the network's size

    def add(self, batch: Batch, outputs: Prediction) -> None:
        pictures, masks = arrays(visible(batch["image"], self.backbone)), [m.cpu().numpy() for m in outputs["mask"]]
        parts = batch["inside"].tolist() if "inside" in batch else [picture.shape[:2] for picture in pictures]
        shown = [picture[:height, :width] for picture, (height, width) in zip(pictures, parts, strict=True)]
        scores = outputs.get("probabilities") or [None] * len(masks)
        for name, picture, mask, of_classes in zip(batch["id"], shown, masks, scores, strict=True):
            self._write_maps(name, picture, mask, of_classes)
            self.write([[name, *self._shares(mask)]])

    def _write_maps(self, name: str, picture: np.ndarray, mask: np.ndarray, scores: Tensor | None) -> None:
        with self._open("masks", name) as file:
            _indexed(mask, self.palette).save(file, "PNG")
        drawn = overlay(_resized(picture, mask.shape), mask, self.palette)
        with self._open("overlays", name) as file:
            Image.fromarray(drawn).save(file, "JPEG", quality=90)
        if scores is not None:
            with self._open("probabilities", name) as file:
                np.savez(file, probabilities=scores.float().cpu().numpy(), classes=np.array(self.classes))

    def merge(self, world: int) -> list[Path]:
        super().merge(world)
        with open_text(self.path, "r") as file:
            names = [row["path"] for row in csv.DictReader(file)]
        for name, stem in stems(names).items():
            for kind in self.kinds:
                path = self._path(kind, inside(name))
                with writing(path):
                    path.replace(self._path(kind, stem))
        return [self.path, *(self.folder / kind for kind in self.kinds)]

    def _path(self, kind: str, stem: str) -> Path:
        return self.folder / kind / (stem + ENDINGS[kind])

    @contextmanager
    def _open(self, kind: str, name: str) -> Iterator[IO[bytes]]:
        """A new file, which gets its name when it is complete."""
        self.kinds[kind] = None
        path = self._path(kind, inside(name))
        part = path.with_name(f"{path.name}.{self.rank}.tmp")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("wb") as file:
                    yield file
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)

    def _shares(self, mask: np.ndarray) -> list[str]:
        counts = np.bincount(mask.ravel(), minlength=len(self.classes))
        return [f"{count / mask.size:.6f}" for count in counts[: len(self.classes)]]


def inside(name: str) -> str:
    """A picture's id as a path that stays below a folder: `/a.jpg` becomes `_root/a.jpg`, `../a.jpg` `_up/a.jpg`."""
    parts = PurePosixPath(name).parts
    return "/".join({"..": "_up"}.get(part, "_root" if part.startswith("/") else part) for part in parts) or "_"


def stems(names: Iterable[str]) -> dict[str, str]:
    """What each picture's files are called, without ending: its path without suffix, where no other's is the same."""
    whole = {name: inside(name) for name in names}
    short = {name: str(PurePosixPath(path).with_suffix("")) for name, path in whole.items()}
    # a.jpg.tif is a.jpg without suffix, and may stand beside an a.jpg that keeps its own
    wanted = Counter(stem for name in whole for stem in {whole[name], short[name]})
    return {name: short[name] if wanted[short[name]] == 1 else whole[name] for name in whole}


def _indexed(mask: np.ndarray, palette: list[tuple[int, int, int]]) -> Image.Image:
    """A picture of mode P; indices beyond the palette have Pascal VOC's colours, so that it always holds bytes."""
    image = Image.fromarray(mask)
    image.putpalette(np.array([*palette, *colours.palette(256)[len(palette) :]], np.uint8).tobytes())
    return image


def _resized(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    shrinks = shape[0] < picture.shape[0]
    size = shape[1], shape[0]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
