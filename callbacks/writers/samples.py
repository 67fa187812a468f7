"""Generated images, as files."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from callbacks.collectors.base import arrays
from callbacks.writers.base import Source
from callbacks.writers.images import ImageFiles, stems
from callbacks.writers.tables import Table
from modules.contracts import Batch, Prediction, writing

SAMPLES = "samples"
SHOWN = 64  # images in the grid


class SampleFiles(Table):
    """Write generated images: `samples/` with a PNG each, `grid.png` of the first 64, and `predict.csv`.

    Columns: `path` and, of a conditional generator, `label`.
    """

    stages = ("predict",)  # what is generated for a test is drawn, and can be had any time

    def __init__(self, source: Source) -> None:
        self.classes = source.task.classes if source.task.condition else None
        columns = ["path", *(["label"] if self.classes else [])]
        super().__init__(source.folder / "predict.csv", source.rank, columns)
        self.files = ImageFiles(source.folder, source.rank, {SAMPLES: ".png"})

    def add(self, batch: Batch, prediction: Prediction) -> None:
        generated = prediction["generated"]
        for name, image in zip(batch["id"], _files(generated), strict=True):
            with self.files.open(SAMPLES, name) as file:
                image.save(file, "PNG")
        labels = [[self.classes[i]] for i in prediction["label"].tolist()] if self.classes else [[]] * len(generated)
        self.write([name, *label] for name, label in zip(batch["id"], labels, strict=True))

    def merge(self, world: int) -> list[Path]:
        super().merge(world)
        path, folders = self.path.with_name("grid.png"), self.files.finalize(self.names)
        shown = [self.path.parent / SAMPLES / f"{stem}.png" for stem in list(stems(self.names).values())[:SHOWN]]
        first = torch.stack([_read(file) for file in shown])  # of all processes
        drawn = make_grid(first, int(len(first) ** 0.5 + 0.5), padding=2, pad_value=255)
        with writing(path):
            Image.fromarray(drawn.permute(1, 2, 0).numpy()).save(path)
        return [path, self.path, *folders]


def _read(path: Path) -> Tensor:
    """uint8 (3, H, W)."""
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def _files(image: Tensor) -> list[Image.Image]:
    """uint8 (B, C, H, W) as images, gray ones of one channel."""
    return [Image.fromarray(a[..., 0] if image.shape[1] == 1 else a[..., :3]) for a in arrays(image)]
