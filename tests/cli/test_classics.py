"""Nearest neighbors and linear classifiers on pixels from the command line."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from modules.metrics.neighbors import majority, nearest
from tests.helpers.commands import TINY, results
from tests.helpers.errors import assert_named, line_naming

PIXELS = ["--config", "tasks/classification.yaml", *TINY, "--model.backbone", "pixels"]


def test_nearest_neighbors_on_pixels(graft, capsys):
    typed = "--distance l1 --ties smallest --num_neighbors 1,4 --num_images 4 --sgd_epochs 2 --data.workers 0".split()
    assert (
        graft("evaluate", *PIXELS[:-1], "RawPixels", "--model.backbone.size", "4", *typed, "--run_dir", "out")[0] == 0
    )
    next_command = line_naming(capsys.readouterr().out.splitlines(), "next", "a linear classifier", "RawPixels")
    assert "--model.weights" not in next_command and "None" not in next_command
    features, found = np.load("out/features.npz"), results("out")
    assert features["test_features"].shape[1] == 3 * 4 * 4
    for k in (1, 4):
        library = KNeighborsClassifier(k, metric="manhattan").fit(features["train_features"], features["train_labels"])
        assert found[f"test/knn_{k}"]["value"] == pytest.approx(
            library.score(features["test_features"], features["test_labels"])
        )
        assert_named(found[f"test/knn_{k}"]["protocol"], f"k {k}", "L1", "majority", "first class")
    bank, queries, labels = (
        torch.from_numpy(features[name]) for name in ("train_features", "test_features", "train_labels")
    )
    _, rows = nearest(bank, queries, 4, "l1")
    right = majority(labels[rows], int(labels.max()) + 1, "smallest").numpy() == features["test_labels"]
    assert found["test/knn_4"]["value"] == pytest.approx(right.mean())


@pytest.fixture(scope="module")
def lifted(fit_once):
    """Run directory of a linear classifier of random Fourier features of pixels."""
    head = "--model.head Lifted --model.head.lifted_features 64".split()
    return fit_once(*PIXELS, *head)


def test_a_lifted_linear_classifier_on_pixels_is_tested_as_it_was_trained(graft, lifted):
    assert graft("test", "--ckpt_path", str(lifted), "--trainer.precision", "32", "--run_dir", "tested")[0] == 0
    assert results("tested")["test/loss"]["value"] == results(lifted)["test/loss"]["value"]
    assert (lifted / "backbone.safetensors").is_file()


@pytest.mark.slow
def test_a_lifted_linear_classifier_on_pixels_is_exported(graft, lifted):
    assert graft("export", "--ckpt_path", str(lifted))[0] == 0
    assert (lifted / "model.onnx").is_file()
