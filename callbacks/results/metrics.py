"""Metrics of a run: rows of metric, value, weights and protocol, each about one set of weights."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import lightning as L

from callbacks.results.number_format import short
from modules.contracts import Batch, ConfigError, counted
from modules.metrics.bootstrap import Estimate

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

    def set_weights(self, stem: str, epoch: int, words: str = "") -> None:
        """Set the checkpoint, by the stem of its file, to which all metrics belong; `words` name another file."""
        self.weights, self._stem = f"{words or f'{stem} checkpoint'}, of epoch {epoch + 1}", stem

    def collect(self, trainer: L.Trainer, split: str) -> None:
        """Collect the metrics of the pass over a split that just ended."""
        found = {k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith(f"{split}/")}
        self._fresh |= found

    def rows(self, trainer: L.Trainer) -> tuple[Rows, Rows]:
        """Rows of the weights that the command evaluates, and of others that were validated."""
        chosen, *others = self._sets(trainer).items()
        known = {key: words for lines in told(trainer, "protocol_lines") for key, words in lines.items()}
        return _rows(trainer, known, *chosen), [row for other in others for row in _rows(trainer, known, *other)]

    def _sets(self, trainer: L.Trainer) -> dict[str, dict[str, float]]:
        """Metrics by weights, those that the command evaluates first."""
        if self.command != "fit":
            return {self.weights: self._fresh}
        found = {name: one for each in told(trainer, "validations") for name, one in each.items()}
        if self._stem == "averaged":
            first = "averaged"
        elif self._stem == "best":
            first = next(name for name in found if name.startswith("best"))
        else:
            last = (name for name, one in found.items() if one.step == trainer.global_step)
            first = next(last, f"last, epoch {trainer.current_epoch}")
        sets = {name: one.metrics for name, one in found.items()}
        return {first: sets.pop(first, {}) | self._fresh} | sets


def told(trainer: L.Trainer, method: str, *more: Any) -> Iterator[Any]:
    """Results of a method of all callbacks that have it, in their order.

    A callback of any package tells the startup summary and the final report about itself by such methods, called with
    the trainer: `startup_lines` returns lines of text; `report_lines` lines of text and rich tables; `protocol_lines` a
    dict of protocols, by log name, or by split the beginning of the protocols of all metrics of that split;
    `validations` a dict of each `Validation` by a description of its weights; `metric_intervals` a dict of each
    `Estimate` of a test by log name, null for a metric without an interval; `take_results` gets the rows of results.
    """
    for callback in trainer.callbacks:
        if hasattr(callback, method):
            yield getattr(callback, method)(trainer, *more)


def check_data(trainer: L.Trainer, callback: L.Callback, *attributes: str) -> None:
    """Check that the data of a run is a data module with all that a callback asks it for.

    Raises:
        ConfigError: plain loaders, or a data module of another program.
    """
    data = trainer.datamodule
    lacking = [name for name in attributes if not hasattr(data, name)]
    if lacking:
        found = "plain loaders" if data is None else f"{type(data).__name__}, which has no {' or '.join(lacking)}"
        raise ConfigError(
            f"{type(callback).__name__} needs a data module such as FromDataset, but this run has {found}: give "
            f"another or leave the callback out"
        )


def check_names(batch: Batch, callback: L.Callback) -> None:
    """Check that a batch names its samples.

    Raises:
        ConfigError: it has no `id`.
    """
    if "id" not in batch:
        raise ConfigError(
            f"{type(callback).__name__} needs `id`, a name for each sample, but the data gives {', '.join(batch)}: add "
            "it to the batches or leave the callback out"
        )


def check_generative(task: L.LightningModule, callback: L.Callback) -> None:
    """Check that a task generates images.

    Raises:
        ConfigError: it does not.
    """
    if not getattr(task, "generative", False):
        raise ConfigError(f"{type(callback).__name__} is for GANs, but {type(task).__name__} is none: leave it out")


def classifies(task: L.LightningModule) -> bool:
    """True if a task's metrics are about the classes of the data, not about an order of tiles or a rotation."""
    known: Any = task
    return "tags" in known.required_keys or ("label" in known.required_keys and "accuracy" in known.protocols)


def _rows(trainer: L.Trainer, known: dict[str, str], weights: str, metrics: dict[str, float]) -> Rows:
    estimates = {name: one for each in told(trainer, "metric_intervals") for name, one in each.items()}
    return [
        {
            "metric": name,
            "value": short(value),
            **interval_of(name, value, estimates),
            "weights": weights,
            "protocol": _protocol(trainer, known, name),
        }
        for name, value in sorted(metrics.items())
    ]


def interval_of(name: str, value: float, estimates: Mapping[str, Estimate | None]) -> dict[str, Any]:
    """Entries of a row: `interval`, its ends or null, `items`, their number, or `no interval`, the reason."""
    estimate = estimates.get(name)
    if not name.startswith("test/"):
        reason = "only metrics of a test have one"
    elif name not in estimates:
        reason = "not a function of single items that could be resampled"
    elif math.isnan(value):
        reason = "not a number"
    elif estimate is None:
        reason = "all resampled sets give this value"
    elif not math.isclose(estimate.value, value, rel_tol=1e-3, abs_tol=1e-6):
        reason = "weighed otherwise than item by item"
    else:
        return {"interval": estimate.ends, "items": estimate.items}
    return {"interval": None, "items": None, "no interval": reason}


def _protocol(trainer: L.Trainer, known: dict[str, str], name: str) -> str:
    """Protocol of a metric: number of samples, averaging, settings; `known` are those that callbacks say."""
    split, metric = name.split("/", 1)
    data, task = trainer.datamodule, trainer.lightning_module
    if name in known:
        return known[name]
    parts = [known.get(split) or counted(len(data.dataset(split, "plain")), f"{split} {data.noun}")]
    if metric in task.protocols:
        parts.append(task.protocols[metric])
    judged = metric == "accuracy" and classifies(task) and not limited(trainer, split)
    if judged and (trivial := data.majority_accuracy(split)) is not None:  # of the whole split
        parts.append(f"{trivial:.4f} for the most frequent class everywhere")
    return "; ".join(parts)


def limited(trainer: L.Trainer, split: str) -> bool:
    """True if `limit_SPLIT_batches`, of val, test or predict, or `fast_dev_run` may leave samples out."""
    limit = getattr(trainer, f"limit_{split}_batches")
    return isinstance(limit, int) or limit < 1  # 1 is a batch, 1.0 all of them
