"""Two gloo processes equal one with the same global batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
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
FEW = "--data.train 64 --data.val 32 --data.test 31 --data.batch_size 8 --data.workers 0 --trainer.max_epochs 1".split()
FEW += ["--trainer.accelerator", "cpu"]
TEXT = "--data.batch_tokens 200 --model.search.longest 12".split()
SMALL = ["--data.image_size", "32"]
TYPED += ["--trainer.accelerator", "cpu", "--trainer.log_every_n_steps", "1", "--pictures.samples", "4"]


@pytest.mark.slow
@pytest.mark.parametrize("path", TASKS, ids=lambda p: p.stem)
def test_every_yaml_trains_on_two_processes_without_any_option(tmp_path, path):
    size = ["--data.image_size", "64"] if path.stem in ("jigsaw", "captioning", "detection") else SMALL
    typed = ["fit", "--config", str(path), *FEW, *(TEXT if path.stem == "translation" else size)]
    assert two_processes(typed, tmp_path) == ""
    results = json.loads((tmp_path / "runs" / path.stem / "latest" / "results.json").read_text())["results"]
    assert any(row["metric"].startswith("test/") for row in results)


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
    assert two_processes(two, tmp_path) == ""
    one, two = (
        torch.load(Path(r) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for r in ("one", "two")
    )
    for key in one:
        if one[key].is_floating_point() and "metrics" not in key:
            torch.testing.assert_close(two[key], one[key], atol=1e-5, rtol=1e-4)
    if task == "classification":
        files = [sorted((Path(r) / "predictions" / "test.csv").read_text().splitlines()) for r in ("one", "two")]
        assert [line.split(",")[0] for line in files[0]] == [
            line.split(",")[0] for line in files[1]
        ]  # each picture once


def two_processes(typed: list[str], folder: Path) -> str:
    """Runs the command line on two; what went wrong, or nothing."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *typed, "--trainer.strategy", "ddp", "--trainer.devices", "2"],
        cwd=folder,
        env={**os.environ, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    return done.stderr[-2000:] if done.returncode else ""
