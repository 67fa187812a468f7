"""Accuracy on the data of an earlier run, beside that on the new data."""

import pytest
import torch

from callbacks import KNN, ForgettingMonitor
from callbacks import forgetting_monitor as module
from modules.contracts import ConfigError, DataError
from tests.helpers.errors import assert_named, refuses
from tests.helpers.files import figures
from tests.helpers.small_task import Data, MemoryLogger, Task


@pytest.fixture
def old_data(monkeypatch) -> Data:
    """Data of an earlier run, of which `tmp_path` is the folder."""
    data = Data()
    monkeypatch.setattr(module, "run_file", lambda run: run)
    monkeypatch.setattr(module, "read_data", lambda path: data)
    return data


def test_the_old_data_are_judged_as_knn_judges_them(trainer, old_data, tmp_path):
    old, new, logger = ForgettingMonitor("runs/old", k=5, every=1), KNN(k=5, every=1), MemoryLogger()
    run = trainer(old, new, max_epochs=2, logger=logger)
    run.fit(Task(), datamodule=Data())
    assert old.history == new.history  # the same data twice
    assert [epochs for epochs, _ in old.history] == [0, 1, 2]
    assert logger.values("val/knn_old") == pytest.approx(logger.values("val/knn"))
    assert "forgetting.png" in figures(tmp_path / "figures") | {path.name for path in tmp_path.rglob("*.png")}
    gained = 100 * (old.history[-1][1] - old.history[0][1])
    (line,) = old.report_lines(run)
    assert line.count(f"{gained:+.1f} points") == 2
    assert_named(old.protocol_lines(run)["val/knn_old"], "k 5", f"{old.history[0][1]:.4f}")


def test_the_training_does_not_notice_it(trainer, old_data):
    finals = []
    for callbacks in ([], [ForgettingMonitor("runs/old", k=5)]):
        torch.manual_seed(3)
        task = Task()
        trainer(*callbacks, max_epochs=2, limit_val_batches=0).fit(task, datamodule=Data())
        finals.append(list(task.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(*finals, strict=True))


def test_old_data_without_labels_are_refused(trainer, old_data):
    old_data.classes = None
    with refuses(ConfigError, "ForgettingMonitor.run", "runs/old", "labels"):
        trainer(ForgettingMonitor("runs/old", k=5), max_epochs=1).fit(Task(), datamodule=Data())


def test_old_videos_are_refused_by_a_task_on_images(trainer, old_data):
    old_data.noun = "videos"
    with refuses(ConfigError, "ForgettingMonitor.run", "runs/old", "videos", "Task"):
        trainer(ForgettingMonitor("runs/old", k=5), max_epochs=1).fit(Task(), datamodule=Data())


def test_a_run_that_is_not_there_is_refused(trainer, tmp_path):
    with refuses(DataError, "ForgettingMonitor.run", tmp_path / "gone"):
        trainer(ForgettingMonitor(str(tmp_path / "gone"), k=5), max_epochs=1).fit(Task(), datamodule=Data())
