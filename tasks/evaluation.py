"""Validation and test of all tasks: steps, means, metrics of a whole split, and records of test items."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import lightning as L
import numpy as np
from torch import Tensor

from modules.contracts import SURPLUS, Batch, ConfigError, Prediction
from modules.metrics.bootstrap import Statistic
from modules.metrics.bootstrap.records import Records, means
from modules.metrics.means import Means

Stage = Literal["val", "test"]


class Evaluation(L.LightningModule):
    """Validation and test: a subclass evaluates batches in `eval_step`.

    Attributes:
        answered: another program answers in place of the network, by predictions alone.
        records: columns of numbers about each item of the test, from which intervals of the metrics follow.
        chosen: names of attributes that each validation chooses; checkpoints hold them beside the weights.
    """

    chosen: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.answered = False
        self.means = {stage: Means() for stage in ("val", "test")}
        self.records = Records()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint |= {name: getattr(self, name) for name in self.chosen}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.take_chosen(checkpoint)

    def take_chosen(self, checkpoint: dict[str, Any]) -> None:
        """Take what validation chose for the weights of a checkpoint; older ones lack some of it."""
        for name in self.chosen:
            setattr(self, name, checkpoint.get(name, getattr(self, name)))

    def validation_step(self, batch: Batch, index: int) -> Prediction | None:
        return None if SURPLUS in batch else self.eval_step(batch, self.turn(index), "val")

    def test_step(self, batch: Batch, index: int) -> Prediction | None:
        if SURPLUS in batch:
            return None
        if "id" in batch:
            self.records.begin(self.turn(index), batch["id"])
        return self.eval_step(batch, self.turn(index), "test")

    def on_test_start(self) -> None:
        self.records = Records()

    def on_validation_epoch_end(self) -> None:
        self.on_eval_epoch_end("val")
        self._log_means("val")

    def on_test_epoch_end(self) -> None:
        self.on_eval_epoch_end("test")
        self._log_means("test")

    def turn(self, index: int) -> int:
        """Number in the split of this device's batch number `index`: devices take whole batches in turn."""
        return index * self.trainer.world_size + self.trainer.global_rank

    def log_mean(self, stage: Stage, values: dict[str, Tensor | float], count: int | Tensor) -> None:
        """Log `STAGE/NAME` at the end of the split: the mean over all samples, on any number of devices.

        Args:
            stage: val or test.
            values: scalars, each the mean of a batch.
            count: number of samples, pixels or other units behind each mean.
        """
        self.means[stage].update(values, count)

    def _log_means(self, stage: Stage) -> None:
        values = self.means[stage].compute()
        self.log_metrics({f"{stage}/{name}": value for name, value in values.items()})

    def log_metrics(self, values: dict[str, Tensor]) -> None:
        """Log metrics of a whole split, equal on every device."""
        values = {name: value.to(self.device) for name, value in values.items()}
        self.log_dict(values, batch_size=1, sync_dist=True)  # a mean of equals; Lightning warns without

    def eval_step(self, batch: Batch, index: int, stage: Stage) -> Prediction | None:
        """Evaluate batch number `index` of a split; returns the prediction that callbacks draw and write.

        `self.records.add(stage, name=column)` keeps a column (B,) of a test, or (B, 2) with weights, for the interval
        of the metric `name`, its mean.
        """
        raise NotImplementedError

    def score(self, prediction: Prediction, batch: Batch, stage: Stage) -> Prediction:
        """Update the metrics of a split by predictions alone, as an exported file gives them; without a loss.

        Returns the prediction as `eval_step` does, for callbacks.

        Args:
            prediction: as of `predict_step`, in pixels of the original images.
            batch: with the truth; images are as they were, and not normalized.
            stage: val or test.

        Raises:
            ConfigError: the task has no metrics of predictions.
        """
        raise ConfigError(f"{type(self).__name__} has no metrics of predictions alone")

    def answer_by(self, predict: Callable[[Batch], Prediction]) -> None:
        """Predict and evaluate by another program, such as an exported file, in place of the network.

        Args:
            predict: batch of images in their original size (`DataModule.set_original_size`) to its predictions.
        """
        self.answered = True
        self.on_after_batch_transfer = lambda batch, dataloader_idx: batch
        self.predict_step = lambda batch, batch_idx=0: predict(batch)  # Lightning skips a first parameter
        self.eval_step = lambda batch, index, stage: self.score(predict(batch), batch, stage)

    def on_eval_epoch_end(self, stage: Stage) -> None:
        """Log metrics of a whole split after its last batch."""

    def statistics(self, columns: dict[str, np.ndarray]) -> list[Statistic]:
        """Statistics of the N items of a test, from the columns (N, ...) of `records`; by default their means."""
        return means(columns)
