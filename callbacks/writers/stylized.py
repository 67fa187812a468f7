"""Stylized images as files, and stylized frames as videos."""

from contextlib import ExitStack
from typing import Any

from PIL import Image

from callbacks.writers.base import Source
from callbacks.writers.films import Film
from callbacks.writers.images import ImageFiles
from callbacks.writers.tables import Table
from modules.contracts import Batch, ConfigError, Prediction

FOLDER = "stylized"


class StylizedFiles(Table):
    """Write stylized images: `stylized/STYLE/` with a PNG each at its own path, and `predict.csv` with their sizes.

    Frames of videos (batches with `film`, `seconds`) become `stylized/STYLE/FILM.mp4`, with the times of the original.
    """

    stages = ("predict",)

    def __init__(self, source: Source) -> None:
        super().__init__(source.folder / "predict.csv", source.rank, ["path", "width", "height"])
        self.source, self.images = source, {}
        self.films: dict[str, None] = {}  # in order
        self.stack = ExitStack()
        self.open: dict[str, Film] = {}  # style -> the film that is written

    def add(self, batch: Batch, prediction: Prediction) -> None:
        if "film" in batch and self.source.trainer.world_size > 1:
            raise ConfigError("videos are written frame by frame, by one device: set --trainer.devices 1")
        for row, styles in enumerate(prediction["styles"]):
            height, width = next(iter(styles.values())).shape[:2]
            self.write([[batch["id"][row], str(width), str(height)]])
            for style, pixels in styles.items():
                pixels = pixels.cpu().numpy()
                if "film" in batch:
                    self._film(style, batch["film"][row]).add(pixels, float(batch["seconds"][row]))
                    continue
                with self._files(style, ".png").open(style, batch["id"][row]) as file:
                    Image.fromarray(pixels).save(file, "PNG")

    def close(self) -> None:
        super().close()
        self._end()

    def discard(self) -> None:
        super().discard()
        self.stack.pop_all().close()

    def merge(self, world: int) -> list[Any]:
        super().merge(world)
        names = self.films or self.names
        return [self.path, *(folder for files in self.images.values() for folder in files.finalize(names))]

    def _files(self, style: str, ending: str) -> ImageFiles:
        if style not in self.images:
            self.images[style] = ImageFiles(self.source.folder / FOLDER, self.source.rank, {style: ending})
        return self.images[style]

    def _film(self, style: str, name: str) -> Film:
        """The open film of that name; the one before it is completed."""
        if name not in self.films:
            self._end()
            self.films[name] = None
        if style not in self.open:
            file = self.stack.enter_context(self._files(style, ".mp4").open(style, name))
            self.open[style] = Film(file)
            self.stack.callback(self.open[style].close)  # before its file
        return self.open[style]

    def _end(self) -> None:
        self.open = {}
        self.stack.close()
