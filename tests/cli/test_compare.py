"""`compare`: the same task in several variants; what is planned, trained, continued, refused and reported."""

import csv
import json
import os
import shlex
import shutil
import signal
import threading
import time
from pathlib import Path
from statistics import mean, stdev

import pytest
import yaml

from callbacks.results.uncertainty import TEST_ITEMS
from callbacks.run_directory import RunDirectory
from commands import child
from commands.compare.axes import start_labels
from modules.backbones import Timm
from modules.contracts import ConfigError, DataError
from modules.metrics.bootstrap import difference, load
from modules.training.transfer import export_backbone
from tests.helpers.commands import TINY, in_this_process, options, values
from tests.helpers.errors import assert_named, line_naming, refuses, sentence

COMPARE = ["compare", "--config", "tasks/classification.yaml", *TINY]


@pytest.fixture
def start(trained, tmp_path) -> str:
    """A run to start from, in a folder whose name has spaces."""
    shutil.copytree(trained, tmp_path / "my runs" / "sim clr")
    return "my runs/sim clr"


def test_the_table_is_the_mean_and_spread_of_the_single_runs_and_a_deleted_run_alone_is_repeated(
    graft, refused, commands, start, capsys
):
    typed = [*COMPARE, "--weights", f"none, {start}", "--seeds", "3,5", "--run_dir", "my runs/out"]
    assert graft(*typed)[0] == 0
    out, folder = capsys.readouterr().out, Path("my runs/out")
    assert [options(command, "--model.weights", "--seed_everything") for command in commands] == [
        ("null", "3"),
        (start, "3"),
        ("null", "5"),
        (start, "5"),
    ]
    single = {(name, seed): values(folder / name / f"seed{seed}") for name in ("none", "sim clr") for seed in (3, 5)}
    with (folder / "compare.csv").open(newline="") as file:
        rows = {(row["variant"], row["metric"]): row for row in csv.DictReader(file)}
    assert len(rows) == 2 * len(single["none", 3])
    assert next(iter(rows)) == ("none", "test/accuracy")  # what the task is judged by comes first
    for (name, metric), row in rows.items():
        both = [single[name, seed][metric] for seed in (3, 5)]
        assert float(row["mean"]) == pytest.approx(mean(both), rel=1e-5)
        assert float(row["standard_deviation"]) == pytest.approx(stdev(both), rel=1e-5)
        differences = [single[name, seed][metric] - single["none", seed][metric] for seed in (3, 5)]
        if name == "none":
            assert row["difference"] == row["standard_error"] == ""
        else:
            assert float(row["difference"]) == pytest.approx(mean(differences), rel=1e-5, abs=1e-12)
    items = [[load(folder / name / f"seed{seed}" / TEST_ITEMS) for seed in (3, 5)] for name in ("sim clr", "none")]
    judged, main = difference(*items)["accuracy"], rows["sim clr", "test/accuracy"]
    assert float(main["difference_low"]) == pytest.approx(judged.low, rel=1e-5)
    assert float(main["standard_error"]) == pytest.approx(judged.standard_error, rel=1e-5)
    assert_named(out, f"{judged.low:+.4f}", f"{judged.high:+.4f}", "2 seeds and 20 images")
    line_naming(out.splitlines(), "[4/4]", "sim clr", "5")
    assert_named(out, "20 test", "top-1", "best")
    assert (folder / "figures" / "compare.png").stat().st_size
    report = json.loads((folder / "compare.json").read_text())
    assert [each["settings"] for each in report["variants"].values()] == [
        {"model.weights": None},
        {"model.weights": start},
    ]
    assert [run["results"] for run in report["runs"]] == [single[n, s] for n in ("none", "sim clr") for s in (3, 5)]

    first, path = (folder / "compare.csv").read_text(), folder / "none" / "seed3" / "config.yaml"
    settings = yaml.safe_load(path.read_text())
    del settings["find_lr"], settings["data"]["init_args"]["folds"], settings["model"]["init_args"]["head"]
    path.write_text(yaml.safe_dump(settings))  # as of before these settings existed
    shutil.rmtree(folder / "none" / "seed5")
    commands.clear()
    assert graft(*typed)[0] == 0
    assert [command[-1] for command in commands] == [str(folder / "none" / "seed5")]
    assert (folder / "compare.csv").read_text() == first

    refused(1, [*typed, "--data.batch_size", "5"], "data.batch_size", "10", "5", "--run_dir")
    shutil.rmtree(folder / "sim clr")
    (folder / "sim clr").symlink_to("none")  # runs of other weights under this start's name
    refused(1, typed, "model.weights")
    assert len(commands) == 1


def test_interrupting_ends_the_run_that_saves_and_the_same_folder_goes_on(graft, capsys, monkeypatch):
    run = Path("runs/compare_classification/given/none/seed0")
    typed = [*COMPARE, "--trainer.max_epochs", "6", "--weights", "none", "--seeds", "1"]
    typed += ["--run_dir", "runs/compare_classification/given"]
    children, popen = [], child.subprocess.Popen

    def remembered(*args, **kwargs):
        children.append(popen(*args, **kwargs))
        return children[-1]

    def press():
        while not (run / "checkpoints" / "last.ckpt").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(child.subprocess, "Popen", remembered)
    threading.Thread(target=press, daemon=True).start()
    assert graft(*typed)[0] == 128 + signal.SIGINT
    assert children[0].returncode == 128 + signal.SIGTERM  # ended, and not killed: it has saved
    assert f"python cli.py {shlex.join(typed)}" in capsys.readouterr().out
    assert not (run / "results.json").exists()
    commands = in_this_process(monkeypatch)
    assert graft(*typed)[0] == 0
    assert len(commands) == 1 and commands[0][-2:] == ["--ckpt_path", str(run)]
    report = json.loads(Path("runs/compare_classification/latest/compare.json").read_text())
    assert [(r["epochs"], r["seconds"]) for r in report["runs"]] == [(6, None)]  # only its last part was timed


def test_a_run_that_fails_stops_the_comparison_with_its_sentence_and_its_log(graft, commands):
    stop = ["--trainer.callbacks+", "EarlyStopping", "--trainer.callbacks.monitor", "nothing"]
    code, error = graft(*COMPARE, "--weights", "none", *stop, "--run_dir", "out")
    assert code in (1, 2)
    sentence(error, "none", "seed 0", "nothing", "out/none/seed0.log", "--run_dir out")
    assert_named(Path("out/none/seed0.log").read_text(), "nothing")
    assert len(commands) == 1


def test_a_pretraining_is_compared_by_its_own_monitor(graft, commands, capsys):
    typed = ["compare", "--config", "tasks/simclr.yaml", *TINY, "--weights", "none", "--seeds", "1"]
    assert graft(*typed)[0] == 0
    assert "test/loss" in capsys.readouterr().out
    assert Path("runs/compare_simclr/latest/figures/compare.png").is_file()
    assert json.loads(Path("runs/compare_simclr/latest/compare.json").read_text())["metric"] == "test/loss"


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("", ["--weights"]),
        ("--weights", ["--weights"]),
        ("--weights ,", ["--weights"]),
        ("--weights none --seeds 0", ["--seeds", "0"]),
        ("--weights none --seeds -1", ["--seeds", "-1"]),
        ("--weights none --seeds few", ["--seeds", "few"]),
        ("--weights none --seeds 1,1", ["--seeds", "1,1"]),
        ("--weights none,none", ["--weights", "none"]),
        ("--weights a,./b/../a", ["--weights", "a"]),
        ("--weights none --model.weights x", ["--model.weights", "--weights"]),
        ("--weights none --model.init_args.weights=x", ["--model.init_args.weights", "--weights"]),
        ("--weights none --seed_everything=1", ["--seed_everything", "--seeds"]),
        ("--weights none --ckpt_path latest", ["--ckpt_path", "--run_dir"]),
        ("--weights none --trainer.fast_dev_run true", ["fast_dev_run", "--trainer.max_epochs 1"]),
        ("--weights none --data.bach_size 5", ["bach_size", "batch_size"]),
    ],
)
def test_a_wrong_comparison_is_refused(refused, commands, typed, names):
    refused(2, [*COMPARE, *typed.split()], *names)
    assert not commands


def test_a_comparison_without_a_task_is_asked_for_one(refused):
    refused(2, ["compare", "--weights", "none"], "--config")


def test_every_start_is_loaded_before_the_first_training(refused, commands, start, tmp_path):
    export_backbone(Timm("test_vit"), tmp_path / "vit.safetensors")
    refused(2, [*COMPARE, "--weights", f"none,{start},vit.safetensors"], "--model.backbone test_vit")
    refused(1, [*COMPARE, "--weights", f"none,{start},gone"], "gone")
    (tmp_path / "notes.ckpt").write_text("not weights")
    refused(1, [*COMPARE, "--weights", f"none,{start},notes.ckpt"], "notes.ckpt")
    assert not commands


def test_a_run_that_outlives_a_killed_comparison_keeps_the_folder(tmp_path):
    directory = RunDirectory(tmp_path / "out", lambda: None)
    directory.claim()
    with (tmp_path / "log").open("w") as log:
        orphan = threading.Thread(
            target=child.wait, args=(["sh", "-c", f"touch '{tmp_path}/started'; sleep 1"], log, directory.lock)
        )
        orphan.start()
        while not (tmp_path / "started").exists() and orphan.is_alive():
            time.sleep(0.05)
    directory.lock.close()
    with refuses(DataError, tmp_path / "out"):
        RunDirectory(tmp_path / "out", lambda: None, resumed=True).claim()
    orphan.join()
    RunDirectory(tmp_path / "out", lambda: None, resumed=True).claim()


def test_a_folder_of_something_else_is_not_written_into(refused, commands, trained):
    refused(1, [*COMPARE, "--weights", "none", "--run_dir", str(trained)], trained, "--run_dir")
    assert not commands


def test_compare_has_a_help_and_is_among_the_commands(graft, refused, capsys):
    with pytest.raises(SystemExit):
        graft("compare", "--help")
    assert_named(capsys.readouterr().out, "--weights", "--seeds", "fit")
    refused(2, ["compar", "--config", "tasks/classification.yaml"], "compar", "'compare'?")


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        (["none", "pretrained"], ["none", "pretrained"]),
        (["runs/simclr/2026-07-01_10-00-00", "runs/cifar/moco"], ["simclr", "moco"]),
        (
            ["runs/simclr/2026-07-01_10-00-00", "none", "runs/simclr/2026-07-01_10-00-00+2"],
            ["simclr_2026-07-01_10-00-00", "none", "simclr_2026-07-01_10-00-00+2"],
        ),
        (["/a/x/simclr", "/b/x/simclr", "/b/x/byol"], ["simclr_x_a", "simclr_x_b", "byol"]),
        (["runs/byol/checkpoints/best.ckpt", "runs/byol/checkpoints/last.ckpt"], ["byol_runs_best", "byol_runs_last"]),
        (["runs/byol/2026-07-01_10-00-00/backbone.safetensors", "downloads/dino.safetensors"], ["byol", "dino"]),
        (["none", "/a/none", "checkpoints/best.ckpt"], ["none", "none_a", "best"]),
        (["y/a_b", "x/a", "b/a"], ["a_b_y", "a_x", "a_b"]),
    ],
)
def test_names_of_starts_are_short_and_unique(starts, expected):
    made = start_labels(starts)
    assert len(set(made)) == len(starts)
    assert made == expected


def test_starts_that_cannot_be_told_apart_are_refused():
    with refuses(ConfigError, "a_b"):
        start_labels(["a_b", "x/a", "b/a"])


def test_a_run_that_was_stopped_before_its_first_checkpoint_is_begun_anew(graft, commands):
    half = Path("out/none/seed0")
    half.mkdir(parents=True)
    (half / ".wandb_id").write_text("x")
    Path("out/compare.json").write_text("{}")
    assert graft(*COMPARE, "--weights", "none", "--seeds", "1", "--run_dir", "out")[0] == 0
    assert "--ckpt_path" not in commands[0]


def test_weights_in_a_yaml_do_not_leak_into_the_random_start(graft, commands, start):
    settings = yaml.safe_load(Path("tasks/classification.yaml").read_text())
    settings["model"]["init_args"]["weights"] = start
    Path("mine.yaml").write_text(yaml.safe_dump(settings))
    typed = ["compare", "--config", "mine.yaml", *TINY, "--weights", "none", "--seeds", "1", "--run_dir", "out"]
    assert graft(*typed)[0] == 0
    saved = yaml.safe_load(Path("out/none/seed0/config.yaml").read_text())
    assert saved["model"]["init_args"]["weights"] is None
