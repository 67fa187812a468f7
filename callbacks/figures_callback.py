"""The Figures callback: first training batch, predictions, mistakes and confusion matrix of a run."""

from collections.abc import Iterable
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.table import Table

from callbacks.collectors.base import Collector, exchanged
from callbacks.figures.log import log_figure, log_table
from callbacks.kinds.registry import KINDS, collected, drawn
from callbacks.results.metrics import check_data, check_names
from modules.contracts import Batch, Prediction, check_range


class Figures(Callback):
    """Draw the first training batch, sample predictions, the worst mistakes and metrics per class as figures.

    The training batch is drawn after augmentation, before it is mixed; the others after training, validation and test.
    Classification and segmentation add the confusion matrix, detection precision-recall curves and kinds of errors,
    translation and captioning the best and worst sentences and attention maps. Other packages add kinds of prediction
    of their own (`callbacks.kinds.register`).

    Args:
        samples: images in a grid, 1..100: figures of more would be too high for matplotlib.
        every: also draw validation figures every N epochs; 0 draws them only when training ends.

    Raises:
        ConfigError: no or too many images, or a negative number of epochs.
    """

    def __init__(self, samples: int = 16, every: int = 0) -> None:
        check_range("figures.samples", samples, 1, 100)
        check_range("figures.every", every)
        self.samples = samples
        self.every = every
        self.pending = False
        self.collector: Collector | None = None
        self.kind = ""  # of what it collects
        self.summary: list[str | Table] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "predict":
            check_data(trainer, self, "batch_size")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        path = Path(trainer.default_root_dir) / "figures" / "train_batch.png"
        self.pending = trainer.is_global_zero and (trainer.global_step == 0 or not path.exists())

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        if not self.pending:
            return
        self.pending = False
        # Class names from the data, because a pretraining task has none.
        kind = drawn(batch)
        if "label" in batch:
            check_data(trainer, self, "classes")
        backbone = getattr(pl_module, "backbone", None)  # a translator sees no images
        figure = kind and kind.draw(batch, self.samples, backbone, trainer.datamodule)
        if figure is not None:
            log_figure(trainer, "train_batch", figure)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.collector = None

    on_test_start = on_validation_start

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Prediction | None, batch: Batch, batch_idx: int
    ) -> None:
        if trainer.sanity_checking or not outputs:
            return
        kind = collected(outputs, batch)
        if kind is None:
            return
        if self.collector is None:
            check_names(batch, self)
            self.collector, self.kind = kind.collect(self.samples), kind.name
        turn = batch_idx * trainer.world_size + trainer.global_rank  # processes take whole batches in turn
        self.collector.update(batch, outputs, pl_module, turn * trainer.datamodule.batch_size)

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        fitting = trainer.state.fn == "fit"
        if not fitting or (self.every and (trainer.current_epoch + 1) % self.every == 0):
            self._draw_collected(trainer, pl_module, "val")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Early stopping decides late which epoch was the last, so what every epoch collected is kept until the next.
        self._draw_collected(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw_collected(trainer, pl_module, "test")

    def _draw_collected(self, trainer: Trainer, task: LightningModule, stage: str) -> None:
        collector, self.collector = self.collector, None
        names = exchanged(self.kind if collector else None)  # a process without a batch saw nothing
        kind = next(filter(None, names), None)
        if kind is None:
            return
        collector = collector or KINDS[kind].collect(self.samples)
        collector.gather()
        if trainer.is_global_zero:
            collector.write(Path(trainer.default_root_dir) / "predictions", stage, task)
            for name, figure in collector.draw(stage, task, trainer.datamodule):
                log_figure(trainer, f"{stage}_{name}", figure)
            for name, columns, rows in collector.tables(stage):
                log_table(trainer, f"{stage}_{name}", columns, rows)
            self.summary = [*collector.summarize(stage, task)]

    def report_lines(self, trainer: Trainer) -> Iterable[str | Table]:
        """Tables and lines of the last evaluated split for the final report."""
        return self.summary
