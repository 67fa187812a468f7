"""`advise`: a race of pretraining methods on the built-in images, from the command line."""

import json
import re
from pathlib import Path

import pytest

from callbacks.checkpoint import Stopped
from commands import child
from commands.advise.command import Advise
from commands.main import main
from modules.contracts import ConfigError, DataError

SMALL = "--data.train 200 --data.val 60 --data.image_size 32 --data.batch_size 20 --data.workers 0".split()
RACE = ["advise", "--methods", "rotation,simclr,mae", "--weights", "none", "--budget", "10s", *SMALL]
RACE += ["--data.augment", "flip"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A race of two that was stopped in its only rung, and went on."""
    path, whole, calls = tmp_path_factory.mktemp("advise") / "race", child.fit, []

    def stopped(arguments, folder, *more):
        calls.append(folder)
        if len(calls) == 4:
            raise Stopped(path, 2, "--run_dir")
        return whole(arguments, folder, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child, "fit", stopped)
        assert main([*RACE, "--run_dir", str(path)]) == 130
        before = json.loads((path / "advise.json").read_text())
        assert main([*RACE, "--run_dir", str(path)]) == 0
    after = json.loads((path / "advise.json").read_text())
    assert len(calls) == 5  # nothing that was finished is trained again
    (first,) = before["rungs"][0]["results"].items()
    assert after["rungs"][0]["results"][first[0]] == first[1]
    return path


def test_two_candidates_are_raced_and_judged(folder):
    found = json.loads((folder / "advise.json").read_text())
    results = found["rungs"][0]["results"]
    assert set(results) == {"rotation", "simclr"}
    assert all(one["low"] <= one["probe"] <= one["high"] for one in [*results.values(), *found["bases"].values()])
    assert all(one["steps"] >= 10 and one["seconds"] > 0 for one in results.values())


def test_the_answer_names_the_best_and_what_was_not_tried(folder):
    found = json.loads((folder / "advise.json").read_text())
    results = found["rungs"][0]["results"]
    best = max(results, key=lambda name: results[name]["probe"])
    assert f"{best} from random weights" in found["answer"]
    assert "Not tried: mae" in found["answer"]


def test_the_figure_and_the_backbones_are_there(folder):
    assert (folder / "figures" / "race.png").is_file()
    assert all((folder / "rung1" / name / "backbone.safetensors").is_file() for name in ("rotation", "simclr"))


def test_a_race_of_other_settings_is_refused(folder, capsys):
    with pytest.raises(DataError, match="other settings"):
        Advise([*RACE, "--run_dir", str(folder), "--data.train", "300"])


def test_the_next_commands_have_what_their_tasks_take(folder, capsys):
    assert main([*RACE, "--run_dir", str(folder)]) == 0  # a race that is over answers again
    said = re.sub(r"\s*\\\n\s*", " ", capsys.readouterr().out)
    longer, tuned = (next(line for line in said.splitlines() if f"next, {each}" in line) for each in ("pre", "fine"))
    results = json.loads((folder / "advise.json").read_text())["rungs"][0]["results"]
    best = max(results, key=lambda name: results[name]["probe"])
    assert f"--config tasks/{best}.yaml" in longer
    assert "--data.augment flip" in longer
    assert f"--model.weights {folder / 'rung1' / best}" in tuned
    assert "--data.image_size 32" in tuned
    assert "--data.augment" not in tuned  # of the method


@pytest.mark.parametrize(
    ("typed", "setting"),
    [
        (["--methods", "simclr,simclrr"], "simclrr"),
        (["--methods", "simclr,simclr"], "twice"),
        (["--config", "tasks/simclr.yaml"], "--methods"),
        (["--trainer.max_epochs", "3"], "--budget"),
        (["--model.weights", "runs/x"], "--weights"),
        (["--budget", "soon"], "--budget"),
        (["--methods", "detection"], "labels"),
        (["--methods", "simclr", "--weights", "none,runs/nothing"], "runs/nothing"),
        (["--methods", "simclr", "--model.backbone", "resnet1"], "resnet18"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_written(typed, setting, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ConfigError, DataError), match=setting):
        Advise(["advise", "--weights", "none", *typed])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("data", "lack"), [("UnlabeledImages", "labels"), ("ImageFolder", "has one, 'cat'")])
def test_data_without_classes_to_tell_apart_are_refused(data, lack, tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat").mkdir()
    for i in range(12):
        Image.new("RGB", (40, 40), (i, i, i)).save(tmp_path / "cat" / f"{i}.png")
    words = ["--data", data, "--data.root", str(tmp_path), "--data.batch_size", "4"]
    with pytest.raises(ConfigError, match=lack):
        Advise(["advise", "--weights", "none", "--methods", "simclr", *words])
