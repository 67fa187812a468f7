"""Two gloo processes equal one with the same global batch."""

import json
import math
import re
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wandb

from modules.backbones import by_name
from modules.training.transfer import export_backbone
from tests.helpers.commands import EXPLANATIONS, ROOT, command_line, environment, values
from tests.helpers.forks import forked
from tests.helpers.wandb_records import Logged

# layer norm instead of batch norm, whose statistics belong to a device
TYPED = [
    "--model.backbone",
    "test_vit",
    "--model.small_images",
    "false",
    "--data.image_size",
    "32",
    "--data.workers",
    "0",
]
TYPED += [
    "--data.train",
    "64",
    "--data.val",
    "10",
    "--data.test",
    "11",
    "--trainer.max_epochs",
    "2",
    "--trainer.precision",
    "32",
]
TASKS = sorted((ROOT / "tasks").glob("*.yaml"))
COMMON = "--trainer.accelerator cpu --trainer.precision 32 --figures.samples 1".split()
FEW = "--data.train 64 --data.val 33 --data.test 31 --data.batch_size 8 --data.workers 0 --trainer.max_epochs 1".split()
FEW += COMMON
TEXT = "--data.batch_tokens 200 --model.search.max_length 12".split()
SMALL = ["--data.image_size", "32"]
TYPED += ["--trainer.accelerator", "cpu", "--trainer.log_every_n_steps", "1", "--figures.samples", "1"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", TASKS, ids=lambda p: p.stem)
def test_every_yaml_trains_on_two_processes_without_any_option(tmp_path, path):
    assert two_processes(["fit", "--config", str(path), *few(path.stem, tmp_path)], tmp_path) == ""
    assert any(metric.startswith("test/") for metric in values(tmp_path / "runs" / path.stem / "latest"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", TASKS, ids=lambda p: p.stem)
def test_every_other_command_of_every_yaml_answers_on_two_processes_as_on_one(graft, tmp_path, path):
    assert graft("fit", "--config", str(path), *few(path.stem, tmp_path), "--run_dir", "run")[0] == 0
    for command in ("validate", "test", "predict"):
        made = command == "predict" and path.stem in ("gan", "wgan")
        data = ["--data", "LatentSamples", "--data.count", "31"] if made else FEW[2:6] + FEW[8:10]
        typed = [command, "--config", str(path), "--ckpt_path", "run", *COMMON, *data, "--data.batch_size", "8"]
        assert graft(*typed, "--run_dir", f"one_{command}")[0] == 0
        for start in (two_processes, by_torchrun):
            assert start([*typed, "--run_dir", f"{start.__name__}_{command}"], tmp_path) == ""
            assert_same(Path(f"one_{command}"), Path(f"{start.__name__}_{command}"))


# 31 images in batches of 8: the second process gets as many, but fewer images; 5: it gets none
@pytest.mark.parametrize(("command", "count"), [("test", 31), ("predict", 5)])
def test_other_commands_answer_on_two_processes_as_on_one(graft, tmp_path, trained, command, count):
    typed = [command, "--config", "tasks/classification.yaml", "--ckpt_path", str(trained), *COMMON]
    typed += ["--data.test", str(count), "--data.batch_size", "8", "--data.workers", "0"]
    assert graft(*typed, "--run_dir", "one")[0] == 0
    assert forked(strict(command_line([*typed, "--run_dir", "two"])), tmp_path, processes=2) == [0, 0]
    assert_same(Path("one"), Path("two"))


@pytest.mark.parametrize("task", ["classification", "simclr", "video"])
def test_two_processes_equal_one(graft, tmp_path, task):
    head = (
        ["--model.head", "Projection", "--model.head.layers", "1"] if task == "simclr" else []
    )  # no batch norm there either
    # SGD, because Adam blows up the rounding of gradients that are zero on paper, as of the keys' biases
    sgd = ["--model.optim.optimizer", "SGD", "--model.optim.lr", "0.05"]
    typed = ["fit", "--config", f"tasks/{task}.yaml", *TYPED, *head, *sgd]
    assert graft(*typed, "--data.batch_size", "16", "--run_dir", "one")[0] == 0
    two = [*typed, "--data.batch_size", "8", "--run_dir", "two"]
    two += EXPLANATIONS if task == "classification" else []  # which leave the training as it is
    mode = "offline" if task == "classification" else "disabled"
    wandb.teardown()  # forks cannot share its process
    assert forked(strict(command_line(two, wandb=mode)), tmp_path, processes=2) == [0, 0]
    if mode == "offline":
        (only,) = Path("two").glob("wandb/offline-run-*")
        steps = [row["trainer/global_step"] for row in Logged(only).history if "train/loss" in row]
        assert steps == [*range(len(steps))] and steps
    one, two = (
        torch.load(Path(r) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for r in ("one", "two")
    )
    for key in one:
        if one[key].is_floating_point() and "metrics" not in key:
            torch.testing.assert_close(two[key], one[key], atol=1e-5, rtol=1e-4)
    if task == "classification":
        assert Path("two/figures/explanations.png").exists() and not Path("one/figures/explanations.png").exists()
        files = [sorted((Path(r) / "predictions" / "test.csv").read_text().splitlines()) for r in ("one", "two")]
        assert [line.split(",")[0] for line in files[0]] == [line.split(",")[0] for line in files[1]]  # each image once


def strict(work: Callable[[], int]) -> Callable[[], int]:
    """The command, which fails at Lightning's advice to use `sync_dist`."""

    def run() -> int:
        warnings.filterwarnings("error", message=".*sync_dist")
        return work()

    return run


def few(task: str, folder: Path) -> list[str]:
    """Settings of a short run of a YAML, whose teacher, if it needs one, is put into a folder."""
    size = ["--data.image_size", "64"] if task in ("jigsaw", "captioning", "detection") else SMALL
    if task == "distillation":
        export_backbone(by_name("test_vit"), folder / "teacher.safetensors")
        size = [*size, "--model.teacher", str(folder / "teacher.safetensors")]
    return [*FEW, *(TEXT if task == "translation" else size)]


def assert_same(one: Path, two: Path) -> None:
    """Assert that two run directories have the same metrics and predictions, in the same order, to 1e-5."""
    if (one / "results.json").exists():
        tables = [json.loads((run / "results.json").read_text())["results"] for run in (one, two)]
        assert [row["metric"] for row in tables[1]] == [row["metric"] for row in tables[0]]
        for expected, found in zip(*tables, strict=True):
            assert _value(found) == pytest.approx(_value(expected), abs=1e-5, rel=1e-5, nan_ok=True), expected["metric"]
            assert found.get("interval") == pytest.approx(expected.get("interval"), abs=1e-5, rel=1e-4)
    files = [sorted(p.relative_to(run) for p in (run / "predictions").rglob("*") if p.is_file()) for run in (one, two)]
    assert files[0] == files[1]
    for name in files[0]:
        if name.suffix == ".npz":
            arrays = [np.load(run / name) for run in (one, two)]
            for key in arrays[0].files:
                same = np.testing.assert_allclose if arrays[0][key].dtype.kind == "f" else np.testing.assert_array_equal
                same(arrays[1][key], arrays[0][key], **({"atol": 1e-5} if same is np.testing.assert_allclose else {}))
        elif name.suffix in (".csv", ".json", ".txt"):
            words = [re.split(r"[\s,\[\]{}:]+", (run / name).read_text()) for run in (one, two)]
            assert list(map(_number, words[1])) == pytest.approx(
                list(map(_number, words[0])), abs=1e-5, rel=1e-5, nan_ok=True
            )
        else:
            assert (one / name).read_bytes() == (two / name).read_bytes(), name


def _value(row: dict[str, Any]) -> float:
    """Value of a row of results; nan for what was not measured, such as AP of sizes without objects."""
    return math.nan if row["value"] is None else row["value"]


def _number(word: str) -> float:
    """Parse a number; map any other word to a number of its own."""
    try:
        return float(word)
    except ValueError:
        return float(zlib.crc32(word.encode()))


def two_processes(typed: list[str], folder: Path) -> str:
    """Run the command line on two devices; returns the error, if any."""
    return _run([sys.executable, str(ROOT / "cli.py"), *typed, "--trainer.devices", "2"], folder)


def by_torchrun(typed: list[str], folder: Path) -> str:
    """Run the command line by torchrun with two processes; the program detects the devices."""
    return _run([sys.executable, "-m", "torch.distributed.run", *TORCHRUN, str(ROOT / "cli.py"), *typed], folder)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=600
    )
    warned = re.search(".*sync_dist.*", done.stderr)
    return warned[0] if warned else done.stderr[-2000:] if done.returncode else ""


TORCHRUN = ["--nproc_per_node", "2", "--standalone"]
