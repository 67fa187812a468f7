"""Metrics of a run: rows of metric, value, weights and protocol, each about one set of weights."""

from typing import Any

import lightning as L

from callbacks.checkpoint import Checkpoint
from callbacks.counts import Counts
from callbacks.generation.generation_metrics import GenerationMetrics
from callbacks.knn import KNN

Rows = list[dict[str, Any]]


class Results:
    """Collect the metrics of a command.

    Args:
        command: fit, validate, test, predict or evaluate.

    Attributes: `weights` describes the checkpoint that a command, or the test at the end of fit, evaluates.
    """

    def __init__(self, command: str):
        self.command = command
        self.weights, self._stem = "", ""
        self._fresh: dict[str, float] = {}  # of `weights`

    def set_weights(self, stem: str, epoch: int) -> None:
        """Set the checkpoint, by the stem of its file, to which all collected metrics belong."""
        self.weights, self._stem = f"{stem} checkpoint, of epoch {epoch + 1}", stem

    def collect(self, trainer: L.Trainer, split: str) -> None:
        """Collect the metrics of the pass over a split that just ended."""
        found = {k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith(f"{split}/")}
        self._fresh |= found

    def rows(self, trainer: L.Trainer) -> tuple[Rows, Rows]:
        """Rows of the weights that the command evaluates, and of others that were validated."""
        chosen, *others = self._sets(trainer).items()
        return _rows(trainer, *chosen), [row for other in others for row in _rows(trainer, *other)]

    def selection(self, trainer: L.Trainer) -> str:
        """Sentence about a monitor that selected nothing, or a training without validation; empty otherwise."""
        saved, task = _checkpoint(trainer), trainer.lightning_module
        if self.command != "fit" or saved is None:
            return ""
        validated = saved.selection.count or saved.last.step >= 0 or task.pretraining
        if not validated and trainer.limit_val_batches and trainer.datamodule.has("val"):
            return (
                f"training ended at step {trainer.global_step:,}, before its first validation, so that no best weights "
                "were chosen: the last ones are the result; train longer, or validate earlier with "
                "--trainer.val_check_interval"
            )
        if not saved.selection.constant:
            return ""
        chosen = saved.selection
        how = "the last validation was chosen" if chosen.loss is None else f"the lowest {task.fallback} chose instead"
        return (
            f"{task.monitor} was {chosen.best:g} in all {chosen.count} validations, so that it cannot choose the best "
            f"checkpoint: {how}"
        )

    def _sets(self, trainer: L.Trainer) -> dict[str, dict[str, float]]:
        """Metrics by weights, those that the command evaluates first."""
        saved = _checkpoint(trainer)
        if self.command != "fit" or saved is None:
            return {self.weights: self._fresh}
        best, last, final = saved.best, saved.last, trainer.global_step
        ending = f"epoch {trainer.current_epoch}"
        names = {}
        if last.step >= 0:
            names[last.step] = f"last, {last.when}" if last.step == final else last.when
        if best.step >= 0:
            names[best.step] = f"best and last, {last.when}" if best.step == final else f"best, {best.when}"
        sets = {names[one.step]: one.metrics for one in (last, best) if one.step >= 0}
        if self._stem == "averaged":
            first = "averaged"
        elif self._stem == "best":
            first = names[best.step]
        else:
            first = names.get(final, f"last, {ending}")
        return {first: sets.pop(first, {}) | self._fresh} | sets


def classifies(task: L.LightningModule) -> bool:
    """True if a task's accuracy is about the classes of the data, not about an order of tiles or a rotation."""
    return "label" in task.required_keys and "accuracy" in task.protocols


def _rows(trainer: L.Trainer, weights: str, metrics: dict[str, float]) -> Rows:
    return [
        {"metric": name, "value": value, "weights": weights, "protocol": _protocol(trainer, name)}
        for name, value in sorted(metrics.items())
    ]


def _protocol(trainer: L.Trainer, name: str) -> str:
    """Protocol of a metric: number of samples, averaging, settings."""
    split, metric = name.split("/", 1)
    data, task = trainer.datamodule, trainer.lightning_module
    total = len(data.dataset(split, "plain"))
    count = next((c.counts.get(split, total) for c in trainer.callbacks if isinstance(c, Counts)), total)
    how = f"{count:,} {'' if count == total else f'of {total:,} '}{split} {data.noun}"
    if metric in task.protocols:
        how += f"; {task.protocols[metric]}"
    if metric == "accuracy" and classifies(task) and (trivial := data.majority_accuracy(split)) is not None:
        how += f"; {trivial:.4f} for the most frequent class everywhere"
    for probe in (c for c in trainer.callbacks if isinstance(c, KNN | GenerationMetrics)):
        how = probe.protocols.get(name, how)
        if name == "val/knn" and probe.history and probe.history[0][0] == 0:
            how += f"; {probe.history[0][1]:.4f} before training"
    return how


def _checkpoint(trainer: L.Trainer) -> Checkpoint | None:
    return next((callback for callback in trainer.callbacks if isinstance(callback, Checkpoint)), None)
