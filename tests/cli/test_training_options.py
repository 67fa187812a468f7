"""Early stopping, the plateau schedule and the learning-rate finder, of whole runs and of killed ones."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.helpers.commands import ROOT, command_line, measured, state, whole_and_killed
from tests.helpers.errors import line_naming
from tests.helpers.forks import forked

SMALL = "--data.train 24 --data.val 8 --data.test 8 --data.batch_size 8 --data.workers 0 --data.image_size 32"
SMALL += " --model.backbone test_vit --trainer.precision 32 --figures.samples 1"
FIT = ["fit", "--config", str(ROOT / "tasks/classification.yaml"), *SMALL.split()]
STILL = "--trainer.max_epochs 9 --model.optim.lr 0 --model.ema_decay 0 --model.optim.schedule plateau".split()
STILL += "--model.optim.patience 1 --early_stopping 3 --checkpoint.every_n_steps 1".split()
"""A training that moves no weight, so that no validation is better than the first."""
FINDER = "--find_lr true --trainer.max_epochs 2 --model.drop_path 0.1 --checkpoint.every_n_steps 1".split()


def alike(first: Any, second: Any) -> bool:
    """True for equal trees of tensors and plain values."""
    if isinstance(first, torch.Tensor):
        return first.equal(second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(alike(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(alike, first, second))
    return first == second


def differing(first: dict, second: dict) -> list[str]:
    """Parts in which two checkpoints differ, other than the files of the run."""
    parts = ("state_dict", "optimizer_states", "lr_schedulers", "random_state", "callbacks", "global_step")
    return [part for part in parts if not alike(first[part], second[part])]


@pytest.fixture(scope="module")
def still(tmp_path_factory) -> Path:
    """Runs that stop early: `whole`, and `killed` in the third epoch and resumed by the same command."""
    folder = tmp_path_factory.mktemp("still")
    typed = [*FIT, *STILL, "--ckpt_path", "auto"]
    whole_and_killed(typed, 8, folder)
    assert forked(command_line([*typed, "--run_dir", "killed"]), folder) == [0]
    return folder


def test_training_stops_when_patience_is_exhausted_and_says_when_and_why(still):
    whole = state(still / "whole")
    assert whole["global_step"] == 4 * 3  # after the first epoch and three without improvement
    (notes,) = yaml.safe_load((still / "whole/results.json").read_text())["notes"][:1]
    line_naming([notes], "epoch 4 of 9", "val/accuracy", "epoch 1", "early_stopping 3")


def test_the_plateau_has_reduced_the_rate_at_each_validation(still):
    (schedule,) = state(still / "whole")["lr_schedulers"]
    assert schedule["reduced"] == pytest.approx(0.1**3)


def test_a_killed_run_stops_where_an_uninterrupted_one_does(still):
    assert not differing(state(still / "whole"), state(still / "killed"))
    assert measured(still / "whole") == measured(still / "killed")


def test_a_run_that_has_stopped_goes_on_only_with_more_patience(still, graft, capsys):
    run = ["--ckpt_path", str(still / "whole"), "--run_dir", str(still / "whole")]
    before = state(still / "whole")
    assert graft(*FIT, *STILL, *run)[0] == 0
    line_naming(capsys.readouterr().out.splitlines(), "nothing was trained", "early_stopping is 3")
    assert not differing(before, state(still / "whole"))
    assert graft(*FIT, *STILL, *run[:2], "--run_dir", "more", "--early_stopping", "4")[0] == 0
    assert state(Path("more"))["global_step"] == 5 * 3


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Path:
    """Runs with a rate that was found: `whole`, `again` from its config.yaml, and `killed` and resumed."""
    folder = tmp_path_factory.mktemp("found")
    typed = [*FIT, *FINDER, "--ckpt_path", "auto"]
    whole_and_killed(typed, 4, folder)
    assert forked(command_line(["fit", "--config", "whole/config.yaml", "--run_dir", "again"]), folder) == [0]
    assert forked(command_line([*typed, "--run_dir", "killed"]), folder) == [0]
    return folder


def test_the_finder_changes_the_rate_alone_and_config_yaml_repeats_the_run(found):
    settings = yaml.safe_load((found / "whole/config.yaml").read_text())
    assert not settings["find_lr"]
    rate = settings["model"]["init_args"]["optim"]["lr"]
    assert state(found / "whole")["hyper_parameters"]["optim"]["lr"] == rate != 0.002
    assert not differing(state(found / "whole"), state(found / "again"))
    assert measured(found / "whole") == measured(found / "again")
    assert (found / "whole/figures/lr_finder.png").is_file()
    assert not (found / "again/figures/lr_finder.png").exists()


def test_a_killed_run_keeps_the_rate_that_was_found(found):
    assert not differing(state(found / "whole"), state(found / "killed"))
    assert measured(found / "whole") == measured(found / "killed")


def test_a_resumed_run_keeps_the_rate_that_was_found_unless_another_is_typed(found, graft, tmp_path):
    rate = yaml.safe_load((found / "whole/config.yaml").read_text())["model"]["init_args"]["optim"]["lr"]
    run = str(shutil.copytree(found / "whole", tmp_path / "run"))
    more = [*FIT, "--model.drop_path", "0.1", "--ckpt_path", run]
    for epochs, typed, expected in ((3, [], rate), (4, ["--model.optim.lr", "0.01"], 0.01)):
        assert graft(*more, *typed, "--trainer.max_epochs", str(epochs))[0] == 0
        saved = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
        assert saved["model"]["init_args"]["optim"]["lr"] == expected
        assert state(tmp_path / "run")["lr_schedulers"][0]["lr"] == expected


def test_options_of_training_that_would_not_count_are_refused(still, refused):
    run = ["--ckpt_path", str(still / "whole")]
    refused(2, [*FIT, *STILL[:2], "--model.ema_decay", "0", "--find_lr", "true", *run], "find_lr", "leave it out")
    refused(2, ["test", *FIT[1:], "--find_lr", "true", *run], "find_lr", "test")
    refused(2, ["validate", *FIT[1:], "--early_stopping", "3", *run], "early_stopping", 3, "validate")


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("--find_lr true --model.optim.lr 0.1", ["find_lr", "--model.optim.lr"]),
        ("--find_lr true --trainer.fast_dev_run true", ["find_lr", "fast_dev_run"]),
        ("--early_stopping 0", ["early_stopping", 0]),
        ("--find_lr true --model.optim {lr:\\ 0.1}", ["find_lr", "--model.optim.lr"]),
        ("--early_stopping 2 --trainer.limit_val_batches 0", ["early_stopping", "trainer.limit_val_batches is 0"]),
        ("--model.optim.schedule plateau --trainer.limit_val_batches 0", ["plateau", "trainer.limit_val_batches is 0"]),
        ("--model.optim.warmup 500", ["optim.warmup", 500, 90]),
        ("--model.optim.schedule step --model.optim.period 0.0001", ["optim.period", "0.0001", 3]),
        ("--model.optim.schedule step --model.optim.milestones [0.001]", ["optim.milestones", "0.001", 90]),
        ("--model.optim.milestones [3,2] --model.optim.schedule step", ["optim.milestones", 3, 2]),
        ("--model.optim.gamma 0.5", ["optim.gamma", "cosine", "plateau"]),
        (
            "--trainer.callbacks+ EarlyStopping --trainer.callbacks.monitor val/accuracy",
            ["EarlyStopping", "min", "val/accuracy", "max", "--early_stopping 3"],
        ),
        ("--find_lr true --trainer.callbacks+ LearningRateFinder", ["find_lr", "LearningRateFinder"]),
        ("--model.optim.optimizer SparseAdam", ["optim.optimizer", "SparseAdam", "AdamW"]),
        (
            "--trainer.callbacks+ BackboneFinetuning --trainer.callbacks.unfreeze_backbone_at_epoch=-1",
            ["BackboneFinetuning.unfreeze_backbone_at_epoch", -1],
        ),
        ("--model.lora.rank 9999", ["model.lora.rank", 9999]),
        ("--model.lora.rank 2 --trainer.callbacks+ BackboneFinetuning", ["BackboneFinetuning", "model.lora"]),
        (
            "--trainer.callbacks+ ModelPruning --trainer.callbacks.pruning_fn l1_unstructured",
            ["ModelPruning.use_global_unstructured", "false"],
        ),
        (
            "--trainer.callbacks+ ModelCheckpoint --trainer.callbacks.dirpath /proc/x/y",
            ["ModelCheckpoint.dirpath", "/proc/x/y"],
        ),
    ],
)
def test_what_cannot_work_is_refused(refused, typed, names):
    refused(2, [*FIT, *shlex.split(typed)], *names)


@pytest.mark.parametrize("typed", ["--find_lr true", "--trainer.callbacks+ LearningRateFinder"])
def test_a_gan_has_no_rate_to_find(refused, typed):
    sentence = refused(2, ["fit", "--config", "tasks/gan.yaml", *typed.split()], "GAN", "model.discriminator_optim.lr")
    assert re.search("find_lr|LearningRateFinder", sentence)
