"""Intervals of a test: the file of its items, what other callbacks add, W&B's summary."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from callbacks.intervals import Intervals
from modules.metrics.bootstrap import load
from modules.metrics.bootstrap.records import Records, means


class Probe:
    """A callback with answers of its own to the same items, and with some to others."""

    def item_statistics(self, trainer):
        return means({"knn": np.arange(30) % 2}) + means({"other": np.arange(7)})


def ended(tmp_path, batches: int) -> tuple[Intervals, SimpleNamespace]:
    """A test with batches of ten items."""
    records, callback = Records(), Intervals()
    for turn in range(batches):
        records.begin(turn, [f"{turn}.{i}" for i in range(10)])
        records.add("test", loss=torch.arange(10) / 10)
    task = SimpleNamespace(records=records, statistics=means)
    trainer = SimpleNamespace(is_global_zero=True, default_root_dir=str(tmp_path), callbacks=[Probe()])
    callback.on_test_end(trainer, task)
    return callback, trainer


def test_a_test_leaves_intervals_and_what_resampling_takes(tmp_path):
    callback, trainer = ended(tmp_path, 3)
    found = callback.metric_intervals(trainer)
    assert set(found) == {"test/loss", "test/knn"}  # `other` is about other items
    assert found["test/loss"].value == pytest.approx(0.45) and found["test/knn"].value == 0.5
    again = load(tmp_path / "predictions" / "test_items.npz")
    assert again.ids[:2].tolist() == ["0.0", "0.1"] and set(again.values(np.ones((1, 30), int))) == {"loss", "knn"}


def test_ends_of_intervals_go_to_every_logger(tmp_path):
    sent = {}
    callback, trainer = ended(tmp_path, 0)
    trainer.loggers, trainer.global_step = [SimpleNamespace(log_metrics=lambda ends, step: sent.update(ends))], 7
    callback.take_results(trainer, [{"metric": "test/loss", "interval": [0.4, 0.5]}, {"metric": "test/f1"}])
    assert sent == {"test/loss/low": 0.4, "test/loss/high": 0.5}


def test_a_test_of_nothing_leaves_nothing(tmp_path):
    callback, trainer = ended(tmp_path, 0)
    assert callback.metric_intervals(trainer) == {} and not list(tmp_path.iterdir())
