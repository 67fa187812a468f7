"""A run that is refused leaves its place as it was."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import LightningModule, Trainer

from callbacks.run_directory import RunDirectory, new_path
from commands.tune.directory import SharedDirectory
from modules.contracts import ConfigError
from tests.helpers.errors import refuses
from tests.helpers.small_task import Data, Task


class Refusing(Task):
    """Task that refuses its settings at a batch of the training."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Any:
        if batch_idx == self.at:
            raise ConfigError("model.image_size")
        return super().training_step(batch, batch_idx)


@pytest.fixture
def refused(trainer):
    """Fits in a folder until the task refuses, and releases the folder."""

    def run(folder: Path, at: int = 0, resumed: bool = False) -> None:
        directory = RunDirectory(folder, lambda: (folder / "config.yaml").touch(), resumed)
        directory.claim()
        with refuses(ConfigError, "model.image_size"):
            trainer(directory, num_sanity_val_steps=1).fit(Refusing(at), datamodule=Data())
        directory.release(failed=True)

    return run


@pytest.mark.parametrize(("at", "latest"), [(0, "old"), (1, "new")])
def test_a_run_stays_and_is_the_latest_from_the_end_of_its_first_batch(refused, tmp_path, at, latest):
    runs = tmp_path / "runs" / "gan"
    (runs / "old").mkdir(parents=True)
    (runs / "latest").symlink_to("old")
    refused(runs / "new", at)
    assert (runs / "latest").resolve().name == latest
    assert (runs / "new").exists() == (latest == "new")


def test_a_folder_that_was_empty_is_empty_again_but_for_files_of_others(refused, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    refused(tmp_path / "mine")
    assert not list((tmp_path / "mine").iterdir())
    start = RunDirectory.on_train_start
    monkeypatch.setattr(
        RunDirectory, "on_train_start", lambda self, *rest: (start(self, *rest), (self.path / "notes.txt").touch())
    )
    refused(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_two_commands_of_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = new_path("gan")
    made = [*(RunDirectory(path, lambda: None, fresh=True) for _ in range(2)), SharedDirectory(path, fresh=True)]
    for directory in made:
        directory.claim()
    assert [directory.path.name for directory in made] == [path.name, f"{path.name}+2", f"{path.name}+3"]
    for directory in reversed(made):
        directory.release(failed=True)
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_loses_nothing(refused, tmp_path):
    (tmp_path / "metrics.csv").write_text("step\n1\n")
    refused(tmp_path, resumed=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"metrics.csv": "step\n1\n"}


def test_a_resumed_run_that_is_refused_has_its_settings_again(tmp_path):
    before = {"config.yaml": "lr: 1", "metrics.csv": "step\n1\n"}
    for name, text in before.items():
        (tmp_path / name).write_text(text)

    def begin() -> None:
        (tmp_path / "config.yaml").replace(tmp_path / "config_until_epoch_1.yaml")
        for name in before:
            (tmp_path / name).write_text("other")

    directory = RunDirectory(tmp_path, begin, resumed=True)
    directory.claim()
    directory.on_train_start(Trainer(logger=False), LightningModule())
    directory.release(failed=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before
