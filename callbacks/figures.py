"""Figures of what goes in and what comes out: the first training batch, predictions, mistakes, confusions."""

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from callbacks.outcomes.base import Outcomes, exchanged
from callbacks.outcomes.classes import ClassOutcomes, draw_views
from callbacks.outcomes.masks import MaskOutcomes, draw_masks
from callbacks.outcomes.objects import ObjectOutcomes, draw_boxes
from callbacks.outcomes.reconstructions import ReconstructionOutcomes
from callbacks.outcomes.sentences import TextOutcomes, draw_captioned, draw_pairs
from callbacks.outcomes.videos import VideoOutcomes, draw_clips
from modules.contracts import Batch, Prediction, writing

KINDS: tuple[type[Outcomes], ...] = (
    TextOutcomes,
    VideoOutcomes,
    ClassOutcomes,
    MaskOutcomes,
    ObjectOutcomes,
    ReconstructionOutcomes,
)
DRAWN = {
    "captions": draw_captioned,
    "source_text": draw_pairs,
    "mask": draw_masks,
    "boxes": draw_boxes,
    "video": draw_clips,
}


def log_figure(trainer: Trainer, name: str, figure: np.ndarray) -> None:
    """Writes `<run>/figures/<name>.png` and sends it to every logger that takes images, from the first process.

    Args:
        trainer: its `default_root_dir` is the run directory.
        name: file name without ending.
        figure: uint8 (H, W, 3).
    """
    if not trainer.is_global_zero:
        return
    from PIL import Image

    path = Path(trainer.default_root_dir) / "figures" / f"{name}.png"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(figure).save(path)
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(f"figures/{name}", [figure], step=trainer.global_step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(f"figures/{name}", figure, trainer.global_step, dataformats="HWC")


def log_table(trainer: Trainer, name: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Sends a table to every logger that takes tables, from the first process."""
    for logger in trainer.loggers if trainer.is_global_zero else ():
        if isinstance(logger, WandbLogger):
            logger.log_table(f"tables/{name}", columns=columns, data=rows, step=trainer.global_step)
        elif isinstance(logger, TensorBoardLogger):
            lines = [columns, ["---"] * len(columns), *rows]
            cells = ([str(cell).replace("|", "\\|").replace("\n", "<br>") for cell in line] for line in lines)
            text = "\n".join(f"| {' | '.join(line)} |" for line in cells)
            logger.experiment.add_text(f"tables/{name}", text, trainer.global_step)


class Figures(Callback):
    """Draws the first training batch as the network sees it, and for tasks that name classes, of images, their
    pixels, objects in them or videos, a sample of predictions, the worst mistakes, and the confusion matrix or, of
    objects, precision over recall and kinds of errors; after training, validation and test. Of sentences, translated
    or about images, it draws a sample, the best and the worst, and where attention lay.

    Args:
        samples: images in a grid.
        every: also draw the validation images every so many epochs; 0 draws them once, when training ends.
    """

    def __init__(self, samples: int = 16, every: int = 0) -> None:
        self.samples = samples
        self.every = every
        self.pending = False
        self.outcomes: Outcomes | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        drawn = Path(trainer.default_root_dir) / "figures" / "train_batch.png"
        self.pending = trainer.is_global_zero and (trainer.global_step == 0 or not drawn.exists())

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        if not self.pending:
            return
        self.pending = False
        # Class names from the data, because a pretraining task has none.
        draw = next((draw for key, draw in DRAWN.items() if key in batch), draw_views)
        backbone = getattr(pl_module, "backbone", None)  # a translator sees no images
        figure = draw(batch, self.samples, backbone, trainer.datamodule)
        if figure is not None:
            log_figure(trainer, "train_batch", figure)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.outcomes = None

    on_test_start = on_validation_start

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Prediction | None, batch: Batch, batch_idx: int
    ) -> None:
        if trainer.sanity_checking or not outputs:
            return
        kind = next((kind for kind in KINDS if kind.fits(outputs, batch)), None)
        if kind is None:
            return
        self.outcomes = self.outcomes or kind(self.samples)
        turn = batch_idx * trainer.world_size + trainer.global_rank  # processes take whole batches in turn
        self.outcomes.update(batch, outputs, pl_module, turn * trainer.datamodule.batch_size)

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        fitting = trainer.state.fn == "fit"
        if not fitting or (self.every and (trainer.current_epoch + 1) % self.every == 0):
            self._draw_outcomes(trainer, pl_module, "val")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Early stopping decides late which epoch was the last, so the outcomes of every epoch are kept until the next.
        self._draw_outcomes(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw_outcomes(trainer, pl_module, "test")

    def _draw_outcomes(self, trainer: Trainer, task: LightningModule, stage: str) -> None:
        outcomes, self.outcomes = self.outcomes, None
        kinds = exchanged(type(outcomes) if outcomes else None)  # a process without a batch saw nothing
        kind = next(filter(None, kinds), None)
        if kind is None:
            return
        outcomes = outcomes or kind(self.samples)
        outcomes.gather()
        if trainer.is_global_zero:
            outcomes.write(Path(trainer.default_root_dir) / "predictions", stage, task)
            for name, figure in outcomes.draw(stage, task, trainer.datamodule):
                log_figure(trainer, f"{stage}_{name}", figure)
            for name, columns, rows in outcomes.tables(stage):
                log_table(trainer, f"{stage}_{name}", columns, rows)
