"""Multi-crop, ten-crop and dense test of classification, and ensembles, on the command line."""

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.commands import results, values


def probabilities(run: str) -> np.ndarray:
    """Probabilities (N, C) of the test images of a run."""
    with Path(run, "predictions", "test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = [[float(v) for k, v in row.items() if k.startswith("p(")] for row in rows]
    assert len(found) == 20 and len(found[0]) > 2
    return np.array(found)


def test_a_dense_test_at_training_size_is_the_plain_test(trained, graft):
    dense = ["--model.tta.crops", "dense", "--trainer.precision", "32"]
    assert graft("test", "--ckpt_path", str(trained), *dense, "--run_dir", "dense")[0] == 0
    plain = values(trained)
    assert values("dense") == {name: value for name, value in plain.items() if name.startswith("test/")}
    assert "dense" in results("dense")["test/accuracy"]["protocol"]


def test_crops_are_refused_in_training_and_of_images_of_training_size(trained, graft, refused):
    ten = ["--model.tta.crops", "ten"]
    refused(2, ["fit", "--config", "tasks/classification.yaml", *ten], "model.tta.crops", "fit")
    code, said = graft("test", "--ckpt_path", str(trained), *ten)
    assert code == 2 and "model.tta.crops ten" in said and "--data.image_size" in said


def test_an_ensemble_of_equal_runs_is_the_run(trained, graft):
    equal = ["--model.ensemble", f"{trained},{trained / 'checkpoints' / 'best.ckpt'}", "--trainer.precision", "32"]
    assert graft("test", "--ckpt_path", str(trained), *equal, "--run_dir", "equal")[0] == 0
    plain = values(trained)
    assert values("equal") == pytest.approx(
        {name: v for name, v in plain.items() if name.startswith("test/")}, abs=1e-5
    )
    assert "3 networks" in results("equal")["test/accuracy"]["protocol"]


@pytest.mark.slow
def test_ten_crops_are_tested_and_exported(trained, graft):
    typed = ["--ckpt_path", str(trained), "--data.image_size", "40", "--model.tta.crops", "ten"]
    assert graft("test", *typed, "--trainer.precision", "32", "--run_dir", "ten")[0] == 0
    assert "10 crops" in results("ten")["test/accuracy"]["protocol"]
    assert graft("export", *typed, "--out", "ten.onnx", "--data_license", "CC0")[0] == 0
    assert graft("test", "--onnx", "ten.onnx", "--run_dir", "file")[0] == 0
    assert probabilities("file") == pytest.approx(probabilities("ten"), abs=1e-4)
