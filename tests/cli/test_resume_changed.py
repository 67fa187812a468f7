"""Resuming with other settings: typed ones win and are reported, or are refused; none is ignored."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from commands.resume import print_changes
from tests.helpers.commands import TINY
from tests.helpers.errors import line_naming

FIT = ["fit", "--config", "tasks/classification.yaml", *TINY]  # as `trained`


@pytest.fixture
def stopped(trained, tmp_path) -> Path:
    """Copy of a run of one epoch, 4 steps, for resuming."""
    return shutil.copytree(trained, tmp_path / "stopped")


def test_rates_decay_and_schedule_are_those_typed_and_config_yaml_follows(graft, stopped, capsys):
    before = (stopped / "config.yaml").read_bytes()
    optim = {"lr": "1e-5", "weight_decay": "0.3", "betas": "[0.5,0.6]", "schedule": "constant"}
    typed = [word for key, value in optim.items() for word in (f"--model.optim.{key}", value)]
    more = ["--trainer.max_epochs", "2", "--seed_everything", "7", "--ckpt_path", str(stopped)]
    assert graft(*FIT, *typed, *more)[0] == 0
    said = capsys.readouterr().out
    for names in (["model.optim.lr = 1e-05", "0.002"], ["seed_everything = 7"], ["trainer.max_epochs = 2"]):
        line_naming(said.splitlines(), *names)
    (optimizer,) = torch.load(stopped / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"]
    assert [group["lr"] for group in optimizer["param_groups"]] == [1e-5, 1e-5]
    assert [group["weight_decay"] for group in optimizer["param_groups"]] == [0.3, 0]
    assert {tuple(group["betas"]) for group in optimizer["param_groups"]} == {(0.5, 0.6)}
    assert {state["step"].item() for state in optimizer["state"].values()} == {8}  # its averages went on
    saved = yaml.safe_load((stopped / "config.yaml").read_text())
    assert (saved["model"]["init_args"]["optim"]["lr"], saved["seed_everything"]) == (1e-5, 7)
    assert (stopped / "config_until_epoch_1.yaml").read_bytes() == before


def test_the_same_settings_say_and_change_nothing(graft, stopped, capsys):
    before = (stopped / "config.yaml").read_bytes()
    assert graft(*FIT, "--trainer.max_epochs", "1", "--ckpt_path", str(stopped))[0] == 0
    said = capsys.readouterr().out
    assert "resuming with" not in said
    line_naming(said.splitlines(), stopped / "checkpoints" / "last.ckpt", "trainer.max_epochs is 1")
    assert (stopped / "config.yaml").read_bytes() == before
    assert not list(stopped.glob("config_until*"))


def test_a_finished_run_is_not_resumed_into_another_folder(refused, stopped):
    command = [*FIT, "--trainer.max_epochs", "5", "--trainer.max_steps", "2", "--ckpt_path", str(stopped)]
    refused(2, [*command, "--run_dir", "new"], stopped / "checkpoints" / "last.ckpt", "trainer.max_steps is 2")


def test_auto_keeps_the_precision_of_the_run_and_another_that_is_typed_is_said(graft, stopped, capsys):
    auto = FIT[:-2]  # without --trainer.precision
    assert graft(*auto, "--trainer.max_epochs", "1", "--ckpt_path", str(stopped))[0] == 0
    said = capsys.readouterr().out
    line_naming(said.splitlines(), "32-true", "cpu", "auto")
    assert "trainer.precision =" not in said
    typed = ["--trainer.precision", "bf16-mixed", "--trainer.max_epochs", "2"]
    assert graft(*auto, *typed, "--ckpt_path", str(stopped))[0] == 0
    line_naming(capsys.readouterr().out.splitlines(), "trainer.precision = bf16-mixed", "32-true")
    assert yaml.safe_load((stopped / "config.yaml").read_text())["trainer"]["precision"] == "bf16-mixed"


def test_the_best_weights_come_along_to_another_run_directory_and_are_tested(graft, stopped):
    last, best = (stopped / "checkpoints" / f"{name}.ckpt" for name in ("last", "best"))
    checkpoint = torch.load(last, weights_only=True)
    checkpoint["callbacks"]["Checkpoint"] |= {"best": 2.0, "moved": True}  # which no accuracy beats
    torch.save(checkpoint, last)
    known = best.read_bytes()
    assert graft(*FIT, "--trainer.max_epochs", "2", "--ckpt_path", str(stopped), "--run_dir", "new")[0] == 0
    assert Path("new/checkpoints/best.ckpt").read_bytes() == known == best.read_bytes()
    tested = json.loads(Path("new/results.json").read_text())
    assert tested["test weights"] == "best checkpoint, of epoch 1"


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("--model.optim.layer_decay 0.5", ["12 groups", "layer_decay"]),
        ("--model.frozen true", ["2 tensors", "frozen"]),
        ("--model.optim.optimizer SGD --model.optim.lr 0.1", ["SGD", "optimizer"]),
    ],
)
def test_an_optimizer_that_the_state_does_not_fit_is_refused_and_the_run_stays_as_it_was(
    refused, stopped, typed, names
):
    before = {path: path.stat().st_mtime_ns for path in stopped.rglob("*") if path.is_file()}
    command = [*FIT, *typed.split(), "--trainer.max_epochs", "2", "--ckpt_path", str(stopped)]
    refused(2, command, "AdamW", "47 tensors", "2 groups", "--model.weights", *names)
    assert {path: path.stat().st_mtime_ns for path in stopped.rglob("*") if path.is_file()} == before


def test_other_classes_are_refused(refused, stopped, folder):
    data = ["--data", "ImageFolder", "--data.root", str(folder), "--data.batch_size", "4", "--data.image_size", "32"]
    command = ["fit", "--config", "tasks/classification.yaml", *data, "--ckpt_path", str(stopped)]
    refused(1, command, stopped / "checkpoints" / "last.ckpt", "10", "2", "circle", "cat")


def test_weights_beside_a_checkpoint_are_reported_as_passed_over_or_refused(graft, refused, trained, stopped, capsys):
    weights = ["--model.weights", str(trained), "--ckpt_path", str(stopped)]
    assert graft(*FIT, "--trainer.max_epochs", "2", *weights)[0] == 0
    line_naming(capsys.readouterr().out.splitlines(), "model.weights")
    refused(2, ["test", *FIT[1:], *weights], "--ckpt_path", "--model.weights")


@pytest.mark.parametrize("name", ["image_size", "frames", "tokenize"])
def test_what_the_data_fills_in_is_no_change(capsys, name):
    before, null = ({"model": {"init_args": {name: value}}} for value in (64, None))
    print_changes(null, before)
    assert not capsys.readouterr().out
    print_changes({"model": {"init_args": {name: 32}}}, before)
    line_naming(capsys.readouterr().out.splitlines(), f"model.{name} = 32", "64")
