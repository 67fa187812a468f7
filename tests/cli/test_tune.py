"""`tune`: real trials, the report and best.yaml, sweeps of W&B, and what is refused before any training."""

import json
from pathlib import Path

import pytest
import yaml

from tests.helpers.commands import TINY, values
from tests.helpers.errors import assert_named, line_naming, sentence

pytest.importorskip("optuna", reason='pip install "graft[tune]"')

TUNE = ["tune", "--config", "tasks/classification.yaml", *TINY]
SPACE = "model.optim.lr: {low: 1e-4, high: 1e-2, log: true}\ndata.augment: [none, flip]\n"


@pytest.fixture
def space(tmp_path) -> list[str]:
    (tmp_path / "tune.yaml").write_text(SPACE)
    return ["--space", "tune.yaml"]


def test_trials_end_in_a_table_a_verdict_figures_and_a_yaml_that_fit_takes(graft, refused, commands, space, capsys):
    typed = [*TUNE, *space, "--sampler", "grid", "--seeds", "2", "--run_dir", "out"]
    assert graft(*typed, "--trials", "4")[0] == 0
    out, report = capsys.readouterr().out, json.loads(Path("out/tune.json").read_text())
    best = report["best trial"]
    assert len(report["trials"]) == 4 and report["trials"][0]["settings"] == {
        "model.optim.lr": 0.002,
        "data.augment": "flip",
    }
    finished = [trial for trial in report["trials"] if trial["state"] == "finished"]
    assert max(trial["value"] for trial in finished) == next(t["value"] for t in finished if t["number"] == best)
    for trial in finished:
        assert values(f"out/trials/{trial['number']:03d}")["val/accuracy"] == trial["value"]
    assert_named(out, report["verdict"])
    assert {path.stem for path in Path("out/figures").glob("*.png")} >= {"history", "slices"}
    line_naming(out.splitlines(), "fit --config out/best.yaml")
    saved = yaml.safe_load(Path("out/best.yaml").read_text())
    (settings,) = (trial["settings"] for trial in finished if trial["number"] == best)
    assert saved["model"]["init_args"]["optim"]["lr"] == settings["model.optim.lr"]

    commands.clear()
    assert (
        graft("fit", "--config", "tasks/classification.yaml", "--config", "out/best.yaml", "--run_dir", "again")[0] == 0
    )
    assert values("again") == values(f"out/trials/{best:03d}")
    assert graft(*typed, "--trials", "4")[0] == 0
    assert not commands
    refused(1, [*typed, "--data.batch_size", "5"], "data.batch_size", "10", "5", "--run_dir")
    Path("tune.yaml").write_text(SPACE.replace("1e-2", "0.1"))
    refused(1, typed, "space of model.optim.lr", "0.1", "--run_dir")


def test_the_command_of_an_agent_of_wandb_runs_as_it_is(graft, space, capsys):
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    assert graft(*TUNE, *space, "--sampler", "random", "--trials", "7", "--wandb")[0] == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert found["method"] == "random" and found["run_cap"] == 7
    assert found["metric"] == {"name": "val/accuracy", "goal": "maximize"}
    assert found["parameters"]["model.optim.lr"] == {"distribution": "log_uniform_values", "min": 0.0001, "max": 0.01}
    args = create_sweep_command_args({"args": {"model.optim.lr": {"value": 0.001}, "data.augment": {"value": "none"}}})
    words = [
        w for word in create_sweep_command(found["command"]) for w in (args["args"] if word == "${args}" else [word])
    ]
    assert words[:4] == ["${env}", "${interpreter}", "${program}", "fit"]
    assert graft(*words[3:], "--run_dir", "out")[0] == 0
    saved = yaml.safe_load(Path("out/config.yaml").read_text())
    assert saved["model"]["init_args"]["optim"]["lr"] == 0.001 and saved["data"]["init_args"]["augment"] == "none"
    assert not Path("runs").exists()


def test_the_default_space_is_printed_without_what_is_typed(graft, capsys):
    assert graft("tune", "--config", "tasks/simclr.yaml", *TINY, "--print_space")[0] == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert list(printed) == ["model.optim.lr", "model.optim.weight_decay", "data.augment"]  # TINY has a batch size


def test_a_trial_that_cannot_train_ends_the_search_with_its_sentence(graft, commands, space):
    code, error = graft(*TUNE, *space, "--data.batch_size", "41", "--run_dir", "out")
    assert code == 1
    sentence(error, "trial 0", "batch_size", "41", "40", "out/trials/000.log")
    assert len(commands) == 1


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("model.optim.lrr: [0.1, 0.2]", ["tune.yaml", "model.optim.lrr", "model.optim.lr"]),
        ("model.optim.lr: [0.1, few]", ["tune.yaml", "model.optim.lr", "few"]),
        ("model.optim.lr: {low: -1, high: 1}", ["tune.yaml", "lr", "-1"]),
        ("model.optim.lr: {low: 1, high: 0.1}", ["tune.yaml", "model.optim.lr", "0.1"]),
        ("trainer.accumulate_grad_batches: {low: 8, high: 16.5}", ["accumulate_grad_batches", "whole number"]),
        ("seed_everything: [1, 2]", ["tune.yaml", "seed_everything"]),
        ("find_lr: [true, false]", ["tune.yaml", "find_lr", "--steps"]),
        ("data.folds: [3, 5]", ["tune.yaml", "data.folds", "compare --folds"]),
        ("data.init_args.held_out_fold: [0, 1]", ["tune.yaml", "data.held_out_fold", "compare --folds"]),
        ("data.batch_size: [5, 10]", ["tune.yaml", "data.batch_size", "typed too"]),  # in TINY
        ("lr: [1, 2]", ["tune.yaml", "lr"]),
    ],
)
def test_a_wrong_space_is_refused(refused, commands, tmp_path, text, names):
    (tmp_path / "tune.yaml").write_text(text)
    refused(2, [*TUNE, "--space", "tune.yaml"], *names)
    assert not commands


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("--trials 0", ["--trials", "0"]),
        ("--trials many", ["--trials", "many"]),
        ("--budget 30", ["--budget", "30"]),
        ("--budget 1s", ["--budget", "1s"]),
        ("--sampler bayes", ["--sampler", "bayes"]),
        ("--seeds 1", ["--seeds", "1"]),
        ("--space gone.yaml", ["--space", "gone.yaml"]),
        ("--ckpt_path latest", ["--ckpt_path", "--run_dir"]),
        ("--trainer.fast_dev_run true", ["fast_dev_run"]),
        ("--trainer.limit_val_batches 0", ["val"]),
        ("--data.bach_size 5", ["bach_size", "batch_size"]),
        ("--budgte 30m", ["--budgte", "--budget"]),
    ],
)
def test_a_wrong_search_is_refused(refused, commands, typed, names):
    refused(2, [*TUNE, *typed.split()], *names)
    assert not commands


@pytest.mark.parametrize(
    "typed",
    ["--model.optim.lr=0.01", "--model.init_args.optim.lr 0.01", '--model.optim={"lr":0.01}'],
)
def test_a_setting_that_is_typed_and_searched_is_refused(refused, commands, space, typed):
    refused(2, [*TUNE, *space, *typed.split()], "tune.yaml", "model.optim.lr", "typed too")
    assert not commands


def test_tune_has_a_help(graft, capsys):
    with pytest.raises(SystemExit):
        graft("tune", "--help")
    assert_named(capsys.readouterr().out, "--space", "--budget", "--sampler", "--wandb", "fit")


def test_the_extra_is_named_where_optuna_is_missing(refused, monkeypatch):
    monkeypatch.setattr("commands.extras.find_spec", lambda name: None)
    refused(2, TUNE, "optuna", "graft[tune]")


def test_a_folder_of_something_else_is_not_written_into(refused, commands, trained):
    refused(1, [*TUNE, "--run_dir", str(trained)], trained, "--run_dir")
    assert not commands
