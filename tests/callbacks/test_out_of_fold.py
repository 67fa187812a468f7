"""Out-of-fold predictions, and the label errors of training samples that they show."""

import csv

import numpy as np
import pytest

from callbacks.results.out_of_fold import write_out_of_fold
from callbacks.results.variants import Repeat
from callbacks.writers.per_class import write_csv
from commands.compare.suspects import report_suspects
from datamodules.images.from_dataset import FromDataset
from modules.metrics.label_errors import probable_label_errors

CLASSES, COUNT, FOLDS = ["cat", "dog", "$x$"], 60, 3


@pytest.fixture
def runs(tmp_path):
    """Predictions of two seeds in three folds, labels 7 and 31 wrong; returns repeats, labels and mean scores."""
    random, true = np.random.default_rng(0), np.arange(COUNT) % 3
    given = true.copy()
    given[[7, 31]] = (true[[7, 31]] + 1) % 3
    logits = 5 * np.eye(3)[true] + random.normal(size=(2, COUNT, 3))
    logits[:, [7, 31], true[[7, 31]]] += 5  # so that they are sure
    scores = (np.exp(logits) / np.exp(logits).sum(2, keepdims=True)).round(6)
    repeats = [Repeat(seed, FOLDS, fold) for seed in range(2) for fold in range(FOLDS)]
    header = ["path", "label", "true", *(f"p({name})" for name in CLASSES)]
    for repeat in repeats:
        rows = [
            [f"train/{i:06d}", CLASSES[true[i]], CLASSES[given[i]], *(f"{p:.6f}" for p in scores[repeat.seed, i])]
            for i in range(repeat.fold, COUNT, FOLDS)
        ]
        write_csv(tmp_path / repeat.name / "predictions" / "test.csv", [header, *rows])
    return repeats, given, scores.mean(0)


def test_probabilities_are_the_mean_over_seeds(runs, tmp_path):
    repeats, given, scores = runs
    judged = write_out_of_fold(tmp_path, repeats)
    order = [int(name.rpartition("/")[2]) for name in judged.ids]
    assert sorted(order) == list(range(COUNT)) and judged.classes == CLASSES
    assert judged.labels.tolist() == given[order].tolist()
    np.testing.assert_allclose(judged.scores, scores[order])
    with (tmp_path / "out_of_fold.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * COUNT


def test_suspects_are_ranked_as_those_of_one_run_and_drawn(runs, tmp_path):
    repeats, given, scores = runs
    images = np.random.default_rng(1).integers(0, 256, (COUNT, 20, 30, 3), np.uint8)

    class Trainer:
        default_root_dir, loggers, is_global_zero, global_step = str(tmp_path), (), True, 0

    data = FromDataset(train=list(zip(images, given.tolist(), strict=True)), classes=CLASSES, val_split=0)
    said = report_suspects(tmp_path, "suspects", write_out_of_fold(tmp_path, repeats), data, Trainer())
    with (tmp_path / "suspects.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    wanted = probable_label_errors(scores, given)
    assert [row["path"] for row in found] == [f"train/{i:06d}" for i in wanted]
    assert {"train/000007", "train/000031"} <= {row["path"] for row in found}
    assert f"{len(wanted)} of {COUNT}" in said and "suspects.csv" in said
    assert (tmp_path / "figures" / "suspects.png").is_file()


def test_runs_without_probabilities_have_no_suspects(tmp_path):
    repeats = [Repeat(0, 2, fold) for fold in range(2)]
    assert write_out_of_fold(tmp_path, repeats) is None
    for repeat in repeats:
        write_csv(tmp_path / repeat.name / "predictions" / "test.csv", [["path", "label"], ["a", "cat"]])
    assert write_out_of_fold(tmp_path, repeats) is None
    assert (tmp_path / "out_of_fold.csv").is_file()
