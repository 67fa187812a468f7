"""`attack` from the command line: what it says, writes and draws, on every task with classes; what it refuses."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands.attack.victim import answer_of
from modules.contracts import ConfigError
from tasks import Detection, Rotation, SimCLR
from tests.helpers.commands import TINY
from tests.helpers.errors import assert_named, line_naming, refuses

FEW = ["--num_images", "12", "--data.workers", "0"]


@pytest.fixture(scope="session")
def segmented(fit_once) -> Path:
    """Run directory of a tiny semantic segmentation on the built-in data."""
    return fit_once("--config", "tasks/semantic_segmentation.yaml", *TINY)


@pytest.fixture(scope="session")
def filmed(fit_once) -> Path:
    """Run directory of a tiny video classification on the built-in data."""
    return fit_once("--config", "tasks/video.yaml", *TINY, "--data.frames", "4")


def outcome(folder: Path, name: str) -> dict[tuple[str, str], dict]:
    """Results of a JSON file by metric and size."""
    return {(row["metric"], row["eps"]): row for row in json.loads((folder / f"{name}.json").read_text())["results"]}


@pytest.mark.usefixtures("drawn_figures")
def test_robust_accuracy_falls_with_eps_and_every_sample_is_written(graft, trained, capsys, narrow_terminal):
    assert graft("attack", "--ckpt_path", str(trained), *FEW, "--eps", "0.3,1/255")[0] == 0
    folder, out = trained / "attack", capsys.readouterr().out
    found = outcome(folder, "pgd")
    clean, small, large = (
        found[key]["value"] for key in (("accuracy", ""), ("robust_accuracy", "1/255"), ("robust_accuracy", "0.3"))
    )
    assert clean >= small >= large and clean > 0
    with (folder / "pgd.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert np.mean([r["class"] == r["answer"] for r in rows]) == pytest.approx(clean)
    assert np.mean([r["class"] == r["answer"] == r["after 0.3"] for r in rows]) == pytest.approx(large)
    assert max(float(r["largest_change"]) for r in rows) == pytest.approx(0.3, abs=1e-5)
    for name in ("pgd_curve.png", "pgd_images.png"):
        assert np.asarray(Image.open(folder / name)).std() > 0
    said = out.splitlines()
    line_naming(said, "written", str(folder))
    assert_named(out.partition("next: ")[2], "--model.adversarial")
    assert max(len(line) for line in said if str(folder) not in line) <= narrow_terminal  # a path stays whole


@pytest.mark.parametrize(
    ("run", "typed", "name"),
    [
        ("trained", "--method deepfool", "deepfool"),
        ("trained", "--method fooling_image --target random --steps 3", "fooling_image_to_random"),
        ("trained", "--method pgd_l2 --eps 0.5 --steps 2 --target 3", None),
        ("segmented", "--method fgsm --eps 8/255", "fgsm"),
        ("segmented", "--eps 8/255 --steps 2 --target 1", None),
        ("filmed", "--eps 8/255 --steps 2", "pgd"),
    ],
)
def test_every_method_on_every_task_with_a_class_answer(graft, request, tmp_path, run, typed, name):
    folder = request.getfixturevalue(run)
    assert graft("attack", "--ckpt_path", str(folder), *FEW, *typed.split(), "--out", "out")[0] == 0
    (written,) = (tmp_path / "out").glob("*.json")
    assert name in (None, written.stem)
    found = outcome(written.parent, written.stem)
    robust = [row["value"] for (metric, _), row in found.items() if metric == "robust_accuracy"]
    assert 0 <= robust[-1] <= found["accuracy", ""]["value"]
    assert found["l2", ""]["value"] > 0
    if "--target" in typed:
        assert any(metric == "target_rate" for metric, _ in found)


def test_samples_without_labels_keep_or_lose_their_own_answer(graft, trained, folder, tmp_path):
    typed = ["--data", "UnlabeledImages", "--data.root", str(folder), "--data.image_size", "32"]
    assert (
        graft("attack", "--ckpt_path", str(trained), *typed, *FEW, "--eps", "0.3", "--steps", "2", "--out", "out")[0]
        == 0
    )
    assert json.loads((tmp_path / "out" / "pgd.json").read_text())["labels"] == "the network's own answers"
    assert outcome(tmp_path / "out", "pgd")["accuracy", ""]["value"] == 1


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("--eps 8", ["--eps", "8/255"]),
        ("--eps much", ["--eps", "'much'"]),
        ("--eps 0", ["--eps", "above 0"]),
        ("--eps 1/255,,2/255", ["--eps", "''"]),
        ("--step_size x", ["--step_size", "'x'"]),
        ("--steps 0", ["--steps", "0"]),
        ("--steps many", ["--steps", "'many'"]),
        ("--num_images 0", ["--num_images", "0"]),
        ("--target starr", ["--target", "'starr'", "star"]),
        ("--method pdg", ["--method", "'pdg'", "pgd"]),
        ("--method fgsm --steps 3", ["--steps", "fgsm"]),
        ("--method deepfool --target 1", ["--target", "deepfool"]),
        ("--method deepfool --step_size 1", ["--step_size", "deepfool"]),
        ("--method fooling_image", ["--target", "fooling_image"]),
        ("--onnx model.onnx", ["model.onnx", "--ckpt_path"]),
        ("--trainer.max_epoch 3", ["max_epoch"]),
    ],
)
def test_bad_input(refused, trained, typed, names):
    refused(2, ["attack", "--ckpt_path", str(trained), *typed.split()], *names)


def test_a_place_that_cannot_be_written_is_refused_before_the_attack(refused, trained, tmp_path):
    (tmp_path / "file").touch()
    refused(1, ["attack", "--ckpt_path", str(trained), "--out", "file"], "file", "--out")


def test_bad_runs(refused, tmp_path):
    refused(2, ["attack"], "--ckpt_path")
    refused(2, ["attack", "--ckpt_path", "model.onnx"], "model.onnx", "gradients")
    refused(1, ["attack", "--ckpt_path", "nothing"], "nothing")


@pytest.mark.parametrize("task", [SimCLR, Rotation, Detection], ids=lambda task: task.__name__)
def test_a_task_without_a_class_answer_is_refused(task):
    made = task(backbone="test_resnet", **({"classes": ["a", "b"]} if task is Detection else {}))
    with refuses(ConfigError, task.__name__, "classification"):
        answer_of(made)


def test_map_methods_are_refused(refused, segmented):
    refused(2, ["attack", "--ckpt_path", str(segmented), "--method", "deepfool"], "deepfool", "pixel")
