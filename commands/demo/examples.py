"""A few samples of the run's test split, as files or texts."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from callbacks.collectors.chosen import evenly
from callbacks.terminal import print_line
from callbacks.writers.films import Film
from commands.predictor import Predictor, parts_of
from modules.contracts import DataError

COUNT = 6


def examples(predictor: Predictor, folder: Path, *settings: str) -> list[Any]:
    """Samples of the test split, else of val or train, evenly spread: paths of files in `folder`, or sentences.

    None where the data of the training is not here any more, which is printed.
    """
    if predictor.kind == "noise":
        return []
    try:
        data = parts_of(["test", *settings, "--ckpt_path", str(predictor.checkpoint)]).datamodule
        data.prepare_data()
        data.setup("test")
    except DataError as error:
        print_line(f"no examples on the page: {error}")
        return []
    source, rows = data.splits[data.predicted]
    chosen = rows[evenly(len(rows), COUNT)]
    if predictor.kind == "text":
        return [source.source[i] for i in chosen]
    write = _film if predictor.kind == "video" else _image
    return [str(write(source, int(i), folder / f"example_{number}")) for number, i in enumerate(chosen)]


def _image(source: Any, index: int, path: Path) -> Path:
    path = path.with_suffix(".png")
    Image.fromarray(np.asarray(source.image(index))).save(path)
    return path


def _film(source: Any, index: int, path: Path, rate: int = 8) -> Path:
    """The video's own file, or its frames as one."""
    if hasattr(source, "path") and source.path(index).is_file():
        return source.path(index)
    path = path.with_suffix(".mp4")
    frames = source.frames(index, np.arange(len(source.times(index))), None)
    film = Film(path, rate, crf=10)
    for pixels in frames:
        film.add(pixels)
    film.close()
    return path
