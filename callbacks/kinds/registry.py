"""Registry of the kinds of prediction, recognized by the keys of batch and prediction."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from lightning.pytorch import LightningDataModule

from callbacks.collectors.base import Collector
from callbacks.writers.base import Writer
from modules.contracts import Backbone, Batch, Prediction

DrawBatch = Callable[[Batch, int, Backbone | None, LightningDataModule], np.ndarray | None]


@dataclass(frozen=True)
class Kind:
    """One kind of prediction; see `register`."""

    name: str
    prediction: frozenset[str]
    truth: frozenset[str]
    batch: frozenset[str]
    collect: Callable[[int], Collector] | None
    write: type[Writer] | None
    draw: DrawBatch | None


KINDS: dict[str, Kind] = {}


def register(
    kind: str,
    *,
    prediction: Collection[str] = (),
    truth: Collection[str] = (),
    batch: Collection[str] = (),
    collect: Callable[[int], Collector] | None = None,
    write: type[Writer] | None = None,
    draw: DrawBatch | None = None,
) -> None:
    """Register a kind of prediction, or replace the one of that name.

    A kind is recognized by keys, never by a task: of several kinds that fit, the one registered last is taken.

    Args:
        kind: its name, such as "boxes".
        prediction: keys of its predictions.
        truth: keys of the batch that `collect` needs beside them.
        batch: keys of the training batches that `draw` draws.
        collect: `Collector` class of the predictions in validation and test: gathers examples and counts across
            processes, draws them (`figures/`), writes metrics to files and summarizes them in the final report. It is
            called with the number of examples to keep.
        write: `Writer` class of prediction files (`predictions/`), called with the `Source` of the predictions.
        draw: function of the first training batch, the number of samples, the backbone (null for a task without) and
            the data module; returns a figure uint8 (H, W, 3), or null for a batch that it cannot draw.

    Raises:
        ValueError: `collect` or `write` without the keys of a prediction, or a part that is something else.
    """
    if (collect or write) and not prediction:
        raise ValueError(f"kind {kind!r} collects or writes predictions: name their keys by `prediction`")
    for part, given in (("collect", collect), ("draw", draw)):
        if given is not None and not callable(given):
            raise ValueError(f"kind {kind!r}: {part} is {given!r}, but must be a class or function")
    if isinstance(collect, type):  # a function tells its class only when it is called
        _check_part(f"kind {kind!r}: collect", collect, Collector, "update")
    if write is not None:
        _check_part(f"kind {kind!r}: write", write, Writer, "add", "merge")
    KINDS.pop(kind, None)
    KINDS[kind] = Kind(kind, frozenset(prediction), frozenset(truth), frozenset(batch), collect, write, draw)


def _check_part(part: str, given: object, base: type, *methods: str) -> None:
    """Check that a part is a class derived from `base` with methods of its own.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(given, type) or not issubclass(given, base):
        raise ValueError(f"{part} is {given!r}, but must be a class derived from {base.__name__}")
    lacking = [name for name in methods if getattr(given, name) is getattr(base, name)]
    if lacking:
        raise ValueError(f"{part} is {given.__name__}, which lacks {' and '.join(lacking)}")


def collected(prediction: Prediction, batch: Batch) -> Kind | None:
    """Kind that collects these predictions; null if none does."""
    return _last(lambda one: one.collect and one.prediction <= prediction.keys() and one.truth <= batch.keys())


def written(prediction: Prediction) -> Kind | None:
    """Kind that writes these predictions; null if none does."""
    return _last(lambda one: one.write and one.prediction <= prediction.keys())


def drawn(batch: Batch) -> Kind | None:
    """Kind that draws this training batch; null if none does."""
    return _last(lambda one: one.draw and one.batch <= batch.keys())


def _last(fits: Callable[[Kind], object]) -> Kind | None:
    return next(filter(fits, reversed(KINDS.values())), None)
