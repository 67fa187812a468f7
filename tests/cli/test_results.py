"""Results of a run: a row per set of weights, sample counts, val files without a test set."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from modules.metrics.bootstrap import load
from tests.helpers.commands import results, values
from tests.helpers.errors import assert_named, line_naming

FIT = "fit --config tasks/classification.yaml --data.train 60 --data.val 20 --data.test 20 --data.batch_size 10".split()
FIT += "--data.workers 0 --data.image_size 32 --trainer.precision 32 --trainer.enable_progress_bar false".split()
FIT += ["--trainer.logger", "false", "--figures.samples", "1"]


def report(folder: str) -> dict:
    return json.loads(Path(folder, "results.json").read_text())


@pytest.fixture(scope="module")
def often(fit_once) -> Path:
    """A run that was validated within epochs, too."""
    return fit_once(*FIT[1:], "--trainer.max_epochs", "3", "--trainer.val_check_interval", "2")


def test_val_and_test_of_a_table_are_of_the_same_weights(often, graft):
    said = report(str(often))
    assert len({row["weights"] for row in said["results"]}) == 1
    best = often / "checkpoints" / "best.ckpt"
    assert graft("validate", "--ckpt_path", str(best), "--trainer.precision", "32", "--run_dir", "again")[0] == 0
    again, first = values("again"), values(often)
    assert again == pytest.approx({name: first[name] for name in again}, abs=1e-6)
    assert {"val/accuracy", "test/accuracy"} <= first.keys()


def test_the_best_and_the_last_weights_are_named(often):
    said = report(str(often))
    best = torch.load(often / "checkpoints" / "best.ckpt", weights_only=True)
    weights = said["results"][0]["weights"]
    assert weights.startswith("best") and f"epoch {best['epoch'] + 1}" in weights
    others = {row["weights"] for row in said["results of other weights"]}
    assert others <= {"last, epoch 3"} and bool(others) == (" and last" not in weights)


def test_the_metrics_of_a_test_have_intervals_from_a_file_of_its_items(often):
    items = load(often / "predictions" / "test_items.npz")
    whole = items.values(np.ones((1, 20), int))
    assert len(set(items.ids)) == 20
    for name, row in results(often).items():
        if name.startswith("test/"):
            low, high = row["interval"]
            assert low <= row["value"] <= high and row["items"] == 20
            assert whole[name.removeprefix("test/")] == pytest.approx(row["value"], rel=1e-4)
        else:
            assert row["interval"] is None and "test" in row["no interval"]


def test_a_run_of_few_steps_has_learning_curves_and_a_verdict(often):
    with (often / "metrics.csv").open(newline="") as file:
        logged = list(csv.DictReader(file))
    for metric in ("loss", "accuracy"):
        trained = [
            (row["epoch"], float(row[f"train/{metric}_epoch"])) for row in logged if row[f"train/{metric}_epoch"]
        ]
        assert [epoch for epoch, _ in trained] == ["0", "1", "2"]
    assert all(0 <= value <= 1 for _, value in trained)
    assert (often / "figures" / "learning_curves.png").is_file()
    assert sum(note.startswith("learning curves: ") for note in report(str(often))["notes"]) == 1


def test_a_table_counts_what_was_judged(graft):
    limits = ["--trainer.limit_val_batches", "1", "--trainer.limit_test_batches", "1", "--trainer.max_epochs", "1"]
    assert graft(*FIT, *limits, "--run_dir", "out")[0] == 0
    assert_named(results("out")["test/loss"]["protocol"], "10 of 20 test")
    assert_named(results("out")["val/loss"]["protocol"], "10 of 20 val")
    with Path("out/predictions/test.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 10


def test_stochastic_weight_averages_are_tested_and_found_by_later_commands(graft):
    swa = ["--trainer.callbacks+", "StochasticWeightAveraging", "--trainer.callbacks.swa_lrs", "0.01"]
    swa += ["--trainer.callbacks.swa_epoch_start", "1", "--trainer.max_epochs", "2", "--run_dir", "out"]
    assert graft(*FIT, *swa)[0] == 0
    said = report("out")
    assert {row["weights"] for row in said["results"]} == {"averaged"}
    assert graft("test", "--ckpt_path", "out", "--trainer.precision", "32", "--run_dir", "again")[0] == 0
    again, first = values("again"), values("out")
    assert again == pytest.approx({name: first[name] for name in again}, abs=1e-6)


def test_data_without_a_test_set_leaves_answers_for_validation(graft, folder, capsys):
    typed = [*FIT[:3], *FIT[9:], "--data", "ImageFolder", "--data.root", str(folder), "--data.batch_size", "4"]
    for file in sorted((folder / "train" / "dog").iterdir())[3:]:
        file.unlink()
    typed += ["--model.head", "Linear", "--model.head.class_weights", "auto"]
    assert graft(*typed, "--data.val_split", "0.25", "--trainer.max_epochs", "1", "--run_dir", "out")[0] == 0
    with Path("out/predictions/val.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 and {"path", "label", "true"} <= rows[0].keys()
    said = capsys.readouterr().out
    assert "cli.py test " not in said
    line_naming(said.splitlines(), "accuracy", "val", "0.750", "'cat'")
    imbalance = line_naming(said.splitlines(), "9", "'cat'", "2", "'dog'")
    assert "class_weights" not in imbalance  # it is set already


def test_missing_splits_are_named(graft, refused, folder, capsys):
    typed = [*FIT[:3], *FIT[9:], "--data", "ImageFolder", "--data.root", str(folder), "--data.batch_size", "4"]
    assert graft(*typed, "--data.val_split", "0", "--trainer.max_epochs", "1", "--run_dir", "out")[0] == 0
    assert_named(capsys.readouterr().out, "no validation set", "no results")
    for command, name, other in (("validate", "validation", "test"), ("test", "test", "validate")):
        said = refused(1, [command, "--ckpt_path", "out"], "ImageFolder", name, "--data.root")
        assert f"use {other}" not in said  # there is none either


def test_a_split_of_no_samples_is_none(graft, refused, capsys):
    assert graft(*FIT, "--data.val", "0", "--trainer.max_epochs", "1", "--run_dir", "out")[0] == 0
    said = capsys.readouterr().out
    assert_named(said, "no validation set")
    assert "nan" not in said and "val: 0" not in said
    line_naming(said.splitlines(), "accuracy without", "test")
    refused(1, ["validate", "--ckpt_path", "out"], "Shapes", "validation", "use test")
    refused(1, [*FIT, "--data.train", "0"], "Shapes", "training", "use test")


def test_a_loss_says_what_changes_it(graft):
    head = ["--model.head", "Linear", "--model.head.label_smoothing", "0.1", "--trainer.max_epochs", "1"]
    assert graft(*FIT, *head, "--run_dir", "out")[0] == 0
    assert_named(results("out")["test/loss"]["protocol"], "without", "label smoothing", "0.1")
