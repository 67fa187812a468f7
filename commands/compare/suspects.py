"""Probable label errors of training samples, by their out-of-fold probabilities: a table, a figure and a sentence."""

from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule, Trainer

from callbacks.collectors.suspects import credible, write_suspects
from callbacks.figures.base import shorten, shorten_start
from callbacks.figures.grids import fitted, grid
from callbacks.figures.log import log_figure
from callbacks.results.out_of_fold import Judged
from datamodules.split_data import SplitData
from datamodules.video.source import middle_frame
from modules.contracts import DataError
from modules.metrics.label_errors import probable_label_errors

DRAWN = 16  # samples of a figure
SIDE = 150  # pixels of a sample in it


def report_suspects(folder: Path, figure: str, judged: Judged, data: LightningDataModule, trainer: Trainer) -> str:
    """Write `suspects.csv` and the figure; returns a sentence, empty where there are no credible ones.

    Args:
        folder: of the variant.
        figure: name of the figure.
        judged: probabilities of all samples.
        data: holds their images or videos.
        trainer: knows the folder of figures and the loggers.
    """
    ids, labels, scores, classes = judged
    found = probable_label_errors(scores, labels)
    write_suspects(folder / "suspects.csv", found, ids, labels, scores, classes)
    errors = credible(len(found), len(labels))
    if not errors:
        return ""
    look = _images(data, {ids[i] for i in found[:DRAWN]})
    rows = [i for i in found[:DRAWN] if ids[i] in look]
    images = [fitted(look[ids[i]](), SIDE) for i in rows]
    captions = [_caption(ids[i], labels[i], scores[i], classes) for i in rows]
    title = f"{len(rows)} of {errors:,} probable label errors out of fold, least credible first"
    log_figure(trainer, figure, grid(images, captions, title))
    noun = getattr(data, "noun", "samples")
    return f"{errors:,} of {len(labels):,} {noun}, the least credible first in {folder / 'suspects.csv'}"


def _caption(name: str, given: int, scores: np.ndarray, classes: list[str]) -> str:
    suggested = int(scores.argmax())
    said = f"→ {shorten(classes[suggested], 14)} {100 * scores[suggested]:.0f} %"
    return f"given: {shorten(classes[given], 14)}\n{said}\n{shorten_start(name, 21)}"


def _images(data: LightningDataModule, names: Set[str]) -> dict[str, Callable[[], np.ndarray]]:
    """Reader of an image of each of these samples, uint8 (H, W, 3); of videos that of their middle frame."""
    if not isinstance(data, SplitData):
        return {}
    data.setup("fit")
    sources: list[Any] = list({id(source): source for source, _ in data.splits.values()}.values())
    places = ((source, row, source.id(row)) for source in sources for row in range(len(source)))
    return {name: _reader(source, row) for source, row, name in places if name in names}


def _reader(source: Any, row: int) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        try:
            return source.image(row) if hasattr(source, "image") else middle_frame(source, row)
        except DataError:  # gone since it was judged
            return np.full((SIDE, SIDE, 3), 200, np.uint8)

    return read
