"""Base of the writers of prediction files, and the source of their predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from modules.contracts import Batch, Prediction

if TYPE_CHECKING:  # `predict --onnx` writes without it
    from lightning.pytorch import LightningModule, Trainer


class Source(NamedTuple):
    """Source of the predictions that a writer writes: one pass over a split.

    Args:
        trainer: runs the pass; its `datamodule` gives the batches.
        task: predicts.
        batch: the first one.
        threshold: lowest score, 0..1, of what is drawn; null leaves the choice to the writer.
    """

    trainer: "Trainer"
    task: "LightningModule"
    batch: Batch
    threshold: float | None = None

    @property
    def folder(self) -> Path:
        """`<run>/predictions`."""
        return Path(self.trainer.default_root_dir) / "predictions"

    @property
    def rank(self) -> int:
        """Rank of this process."""
        return self.trainer.global_rank

    @property
    def stage(self) -> str:
        """`val`, `test` or `predict`: the beginning of file names."""
        return stage_of(self.trainer)


class Writer:
    """Base of the writers of one kind of prediction, used by the callback `Predictions`.

    A writer is made with the `Source` of the predictions in every process, adds batch by batch, and writes parts; the
    first process merges them. A file under its final name is complete.

    Attributes:
        stages: stages whose predictions are written.
        turn: number of the current batch in the split; null when one process writes all.
        notes: remarks for the final report, known after `merge`.
        excerpts: first lines of files that `predict` wrote, for the final report, known after `merge`.
    """

    stages: ClassVar[Sequence[str]] = ("val", "test", "predict")
    turn: int | None = None
    notes: Sequence[str] = ()
    excerpts: Mapping[Path, Sequence[str]] = {}

    def begin_batch(self, turn: int) -> None:
        """Set the number in the split of the batch that `add` gets next; where several processes write."""
        self.turn = turn

    def add(self, batch: Batch, prediction: Prediction) -> None:
        """Write the predictions of one batch."""
        raise NotImplementedError

    def close(self) -> None:
        """Complete this process's part after the last batch."""

    def discard(self) -> None:
        """Delete this process's part, of an interrupted pass."""

    def merge(self, world: int) -> list[Path]:
        """Merge the parts of `world` processes into the final files; returns the paths written."""
        raise NotImplementedError


def stage_of(trainer: "Trainer") -> str:
    """Current stage as in file names: `val`, `test` or `predict`."""
    return "test" if trainer.testing else "predict" if trainer.predicting else "val"
