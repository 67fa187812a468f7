"""Accuracy on the data of an earlier training during continued pretraining, beside that on the new data."""

from importlib import import_module
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from callbacks.collectors.embedding import check_features
from callbacks.figures.curve import curves
from callbacks.figures.log import log_figure
from callbacks.knn import KNN
from datamodules import DataModule
from modules.contracts import ConfigError, DataError, naming
from modules.metrics.bootstrap import Statistic
from modules.training.checkpoint_file import run_file
from modules.training.trusted import trusted_settings


class ForgettingMonitor(KNN):
    """Evaluate the features by kNN on the data of an earlier run too: what is forgotten, and what is gained.

    Log keys: `val/knn_old` and `test/knn_old`, accuracy 0..1 on the splits of the data that the earlier run was trained
    on. The figure `forgetting` shows it over epochs beside `val/knn` of the callback KNN on the new data, each with its
    value before the first step.

    Args:
        run: run directory or .ckpt of the earlier training; best the one that `--model.weights` names.
        k: number of neighbors.
        temperature: of the vote.
        every: epochs between two probes.

    Raises:
        DataError: there is no checkpoint, or its data is not there any more.
        ConfigError: the old data has no labels, fewer train images than `k`, or videos for a task on images.
    """

    key = "knn_old"

    def __init__(self, run: str, k: int = 20, temperature: float = 0.1, every: int = 5) -> None:
        super().__init__(k, temperature, every)
        self.run = run
        self.old: Any = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "predict":
            check_features(pl_module, self)
            takes: Any = pl_module.required_keys
            if self.data(trainer).noun == "videos" and "video" not in takes:
                raise ConfigError(
                    f"ForgettingMonitor.run {self.run} was trained on videos, but {type(pl_module).__name__} takes "
                    "images: name a run on images, or leave the callback out"
                )
            self._check(len(self.data(trainer).plain_dataloader("train").dataset))

    def item_statistics(self, trainer: Trainer) -> list[Statistic]:
        """Nothing: test items are those of the new data."""
        return []

    def startup_lines(self, trainer: Trainer) -> list[str]:
        """Name of the old data."""
        return [f"old data: that of {self.run}, {len(self.data(trainer).classes)} classes (ForgettingMonitor)"]

    def data(self, trainer: Trainer) -> Any:
        """The data of the earlier run, which is set up at its first use."""
        if self.old is None:
            with naming("ForgettingMonitor.run"):
                self.old = read_data(run_file(self.run))
            self.old.prepare_data()
            self.old.setup("fit")
            if not self.old.classes or None in map(self.old.plain_dataloader, ("train", "val")):
                raise ConfigError(
                    f"ForgettingMonitor.run {self.run} was trained on data without labels in train and val to judge "
                    "features by: leave the callback out"
                )
        return self.old

    def lines(self, trainer: Any) -> dict[str, list[tuple[int, float]]]:
        """Accuracy over epochs on the old data, and on the new where the callback KNN evaluates it."""
        new = next((one.history for one in trainer.callbacks if type(one) is KNN and one.history), None)
        return {f"data of {self.run}": self.history} | ({} if new is None else {"new data": new})

    def draw(self, trainer: Any) -> None:
        """Draw old and new accuracy over epochs."""
        lines = self.lines(trainer)
        log_figure(trainer, "forgetting", curves(lines, said(lines)))

    def report_lines(self, trainer: Trainer) -> list[str]:
        """Points that were lost or gained."""
        return [said(self.lines(trainer))] if len(self.history) > 1 else []


def said(lines: dict[str, list[tuple[int, float]]]) -> str:
    """Points that were lost or gained on each data since before training."""
    changes = [f"{name} {100 * (line[-1][1] - line[0][1]):+.1f} points" for name, line in lines.items()]
    return f"kNN since before training: {', '.join(changes)}"


def read_data(path: Path) -> DataModule:
    """The data module that a checkpoint was trained on.

    Raises:
        DataError: no checkpoint of a `fit`.
        ConfigError: it names code that is not imported.
    """
    found = trusted_settings(path, "datamodule_hyper_parameters").get("_class_path", "")
    module, _, name = found.rpartition(".")
    if not module:
        raise DataError(f"{path} does not say which data it was trained on: name a run of `fit`")
    return getattr(import_module(module), name).load_from_checkpoint(path, map_location="cpu")
