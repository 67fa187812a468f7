"""`evaluate` from the command line: what it says, writes and draws, and what it refuses."""

import csv
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from commands.checkpoints import with_newest
from tests.helpers.commands import TINY, results
from tests.helpers.errors import assert_named, line_naming

QUICK = ["--sgd_epochs", "5", "--data.workers", "0"]
FIGURES = {"accuracies", "clusters", "corruptions", "maps", "neighbors", "projection", "robustness", "spectrum"}


@pytest.fixture(scope="session")
def pretrained(fit_once) -> Path:
    """Run directory of a tiny SimCLR on the built-in data."""
    plain = ["--trainer.callbacks", "null", "--model.backbone", "test_vit"]
    return fit_once("--config", "tasks/simclr.yaml", *TINY, *plain)


@pytest.fixture
def said(caplog):
    """Collect the messages of rank-zero logging."""
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        yield lambda: "\n".join(record.message for record in caplog.records)


@pytest.mark.usefixtures("drawn_figures")
def test_a_classifier_is_judged_without_a_config(graft, trained, said, capsys):
    typed = ["--num_neighbors", "1,5,60,200", "--label_fractions", "0.5,1"]
    assert graft("evaluate", "--ckpt_path", str(trained), *QUICK, *typed)[0] == 0
    (folder,) = Path("runs/classification").glob("*_evaluate")
    found = results(folder)
    assert {"test/knn_1", "test/knn_5", "test/probe", "test/probe_0.5", "test/probe_sgd"} <= found.keys()
    assert {"test/cluster_nmi", "test/cluster_accuracy", "test/probe_jpeg", "test/knn_5_blur"} <= found.keys()
    assert {"test/alignment", "test/uniformity", "test/effective_rank"} <= found.keys()
    assert "test/knn_60" not in found
    line_naming(said().splitlines(), "60, 200", "40")
    for metric, names in {
        "knn_5": ["kNN", "5", "T 0.1", "40 train", "20 test"],
        "probe": ["20 val", "40 train"],
        "probe_0.5": ["20 of 40 train", "3"],
        "probe_sgd": ["lr 10", "momentum 0.9", "batch 256", "5 epochs", "seed 0"],
        "alignment": ["crop [0.6, 1.0]", "augment flip"],
    }.items():
        assert_named(found[f"test/{metric}"]["protocol"], *names)
    assert {path.stem for path in (folder / "figures").glob("*.png")} == FIGURES
    out = capsys.readouterr().out
    line_naming(out.splitlines(), "best", "epoch 1")
    assert "features.npz" in out
    with (folder / "robustness.csv").open(newline="") as file:
        damage = list(csv.DictReader(file))
    assert [row["damage"] for row in damage] == ["none"] + [
        k for k in ("blur", "noise", "contrast", "jpeg") for _ in "123"
    ]
    assert float(damage[0]["probe"]) == pytest.approx(found["test/probe"]["value"])
    blurred = np.mean([float(row["knn_5"]) for row in damage[1:4]])
    assert found["test/knn_5_blur"]["value"] == pytest.approx(blurred)


def test_the_numbers_follow_from_the_features_that_are_written(graft, pretrained):
    assert graft("evaluate", "--ckpt_path", str(pretrained), *QUICK, "--num_images", "4", "--run_dir", "out")[0] == 0
    features, found = np.load("out/features.npz"), results("out")
    assert features["train_features"].dtype == np.float32 and features["val_features"].shape[0] == 20
    nearest = KNeighborsClassifier(1, metric="cosine").fit(features["train_features"], features["train_labels"])
    score = nearest.score(features["test_features"], features["test_labels"])
    assert found["test/knn_1"]["value"] == pytest.approx(score)
    # and those from the checkpoint: predict goes through Lightning's loader of weights
    assert graft("predict", "--ckpt_path", str(pretrained), "--data.workers", "0", "--run_dir", "told")[0] == 0
    told = np.load("told/predictions/features.npz")
    assert told["ids"].tolist() == features["test_ids"].tolist()
    assert features["test_features"] == pytest.approx(told["features"], abs=1e-5)


def test_the_last_weights_of_a_pretraining_are_judged_as_they_are_exported(graft, pretrained, tmp_path, capsys):
    run = tmp_path / "run" / "checkpoints"
    run.mkdir(parents=True)
    checkpoint = torch.load(pretrained / "checkpoints" / "last.ckpt", weights_only=True)
    for name, epochs in {"last": 8, "best": 4}.items():
        checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["ready"] = epochs
        torch.save(checkpoint, run / f"{name}.ckpt")
    typed = ["--num_neighbors", "1", "--num_images", "4", "--projection", "pca", "--run_dir", "out"]
    assert graft("evaluate", "--ckpt_path", str(tmp_path / "run"), *QUICK, *typed)[0] == 0
    line_naming(capsys.readouterr().out.splitlines(), "last", "epoch 8")
    assert_named(results("out")["test/alignment"]["protocol"], "crop [0.2, 1.0]", "augment strong")


def test_images_are_damaged_in_full_precision_whatever_the_trainer_computes_in(graft, trained, monkeypatch, said):
    from commands.evaluate import robustness

    seen, corrupt = [], robustness.corrupt
    monkeypatch.setattr(
        robustness, "corrupt", lambda *a: (seen.append(torch.is_autocast_enabled("cpu")), corrupt(*a))[1]
    )
    typed = ["--trainer.precision", "bf16-mixed", "--num_neighbors", "1", "--num_images", "4", "--run_dir", "out"]
    assert graft("evaluate", "--ckpt_path", str(trained), *QUICK, *typed)[0] == 0
    assert len(seen) == 24 and not any(seen)  # 12 to judge, 12 to draw
    assert "bf16-mixed" in said()


def test_without_labels_the_probes_are_off_and_the_rest_goes_on(graft, pretrained, folder, said):
    data = ["--data", "UnlabeledImages", "--data.root", str(folder), "--data.augment", "none", "--data.crop", "null"]
    typed = [*data, "--data.val_split", "0.25", "--num_images", "8", "--run_dir", "out"]
    assert graft("evaluate", "--ckpt_path", str(pretrained), *QUICK, *typed)[0] == 0
    found = results("out")
    assert list(found) == ["val/alignment", "val/uniformity", "val/effective_rank"]
    assert_named(found["val/alignment"]["protocol"], "flip", "crop")
    assert found["val/alignment"]["value"] > 0
    line_naming(said().splitlines(), "kNN", "clusters", "robustness", "labels")
    assert {path.stem for path in Path("out/figures").glob("*.png")} == {"maps", "neighbors", "projection", "spectrum"}
    assert set(np.load("out/features.npz")) == {"train_features", "train_ids", "val_features", "val_ids"}


def test_features_are_judged_on_classes_that_the_task_does_not_know(graft, trained, folder, said):
    broken = folder / "train" / "cat" / "00.jpg"
    broken.write_bytes(b"\xff\xd8\xff" + bytes(50) + b"\xff\xd9")  # looks whole, so that it is only found late
    data = ["--data", "ImageFolder", "--data.root", str(folder), "--data.on_error", "skip", "--data.val_split", "0.3"]
    typed = [*data, "--data.label_fraction", "0.9", "--num_neighbors", "3", "--num_images", "4", "--run_dir", "out"]
    assert graft("evaluate", "--ckpt_path", str(trained), *QUICK, *typed)[0] == 0
    found = results("out")
    assert_named(found["val/probe"]["protocol"], "train labels")
    assert "data.label_fraction 0.9" in said()
    assert "00.jpg" in Path("out/skipped.txt").read_text()


@pytest.mark.parametrize(
    ("typed", "code", "names"),
    [
        ("--trainer.devices 2 --trainer.accelerator cpu", 2, ["2", "--trainer.devices 1"]),
        ("--label_fractions 0.1,0", 2, ["label_fractions", "0.1, 0.0"]),
        ("--label_fractions 0.1,some", 2, ["label_fractions", "some"]),
        ("--label_fractions 50", 2, ["label_fractions", "50", "40"]),
        ("--num_neighbors 0", 2, ["num_neighbors", "0"]),
        ("--temperature 0", 2, ["temperature", "0.0"]),
        ("--distance l3", 2, ["distance", "l3", "cosine", "l1", "l2"]),
        ("--distance l1 --vote weighted", 2, ["vote", "l1", "--vote majority"]),
        ("--ties smallest --vote weighted", 2, ["ties", "smallest", "--vote majority"]),
        ("--num_images 1", 2, ["num_images", "1"]),
        ("--projection umap", 2, ["projection", "umap", "tsne", "pca"]),
        ("--model.backbone resnet18", 2, ["Classification", "--model.backbone test_resnet"]),
        ("--data.image_size 16", 2, ["16", "32", "--data.image_size", "--model.small_images"]),
        ("--data.val 0 --data.test 1", 1, ["test", "1"]),
        ("--data ShapesVideo --data.train 16 --data.val 8 --data.test 8", 2, ["ShapesVideo", "--data ImageFolder"]),
        ("--data ShapesSentences", 2, ["ShapesSentences", "--data ImageFolder"]),
    ],
)
def test_what_cannot_be_judged_is_refused_before_the_work(refused, trained, typed, code, names):
    refused(code, ["evaluate", "--ckpt_path", str(trained), *typed.split()], *names)


def test_a_network_for_videos_is_judged_on_its_own_videos_and_on_images(graft, fit_once):
    typed = ["--config", "tasks/video.yaml", "--data.train", "16", "--data.val", "10", "--data.test", "10"]
    typed += ["--data.batch_size", "8", "--data.workers", "0", "--data.image_size", "32", "--trainer.max_epochs", "1"]
    run = fit_once(*typed, "--data.frames", "4", "--model.fusion", "gru")
    few = ["--num_neighbors", "1", "--num_images", "4"]
    for folder, data in (("own", []), ("images", ["--data", "Shapes", *TINY[:6]])):
        assert graft("evaluate", "--ckpt_path", str(run), *QUICK, *few, *data, "--run_dir", folder)[0] == 0
        found = results(folder)
        assert {"test/knn_1", "test/probe", "test/probe_jpeg", "test/alignment"} <= found.keys()
        assert {path.stem for path in Path(folder, "figures").glob("*.png")} == FIGURES - {"maps"}  # of one cell
    assert_named(results("own")["test/knn_1"]["protocol"], "16 train videos", "10 test videos")


def test_views_made_on_the_device_are_those_that_alignment_is_about(graft, pretrained):
    typed = ["--data.augment_device", "device", "--num_neighbors", "1", "--num_images", "4", "--run_dir", "out"]
    assert graft("evaluate", "--ckpt_path", str(pretrained), *QUICK, *typed)[0] == 0
    assert_named(results("out")["test/alignment"]["protocol"], "crop [0.2, 1.0]", "augment strong")


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_weights_of_any_precision_are_judged(graft, trained, precision):
    typed = ["--trainer.precision", precision, "--num_neighbors", "1", "--num_images", "4", "--run_dir", "out"]
    assert graft("evaluate", "--ckpt_path", str(trained), *QUICK, *typed)[0] == 0


def test_data_without_anything_to_judge_is_refused(refused, trained, folder):
    data = ["--data", "UnlabeledImages", "--data.root", str(folder), "--data.val_split", "0"]
    refused(1, ["evaluate", "--ckpt_path", str(trained), *data], "UnlabeledImages", "test", "val", "--data.root")


def test_latest_without_a_name_lists_the_runs(refused):
    refused(1, ["evaluate", "--ckpt_path", "latest"], "latest")
    for name in ("simclr", "gan"):
        Path(f"runs/{name}/latest/checkpoints").mkdir(parents=True)
    commands = [["evaluate"], ["export"], ["serve"], ["demo"], ["inspect"], ["push", "--repo", "me/it", "--dry_run"]]
    for command in commands:
        refused(1, [*command, "--ckpt_path", "latest"], "runs/gan/latest, runs/simclr/latest")
    for name in ("simclr", "gan"):
        Path(f"runs/{name}/latest/results.json").touch()
    refused(1, ["report", "--run_dir", "latest"], "runs/gan/latest, runs/simclr/latest")


def test_latest_without_a_name_is_the_only_run(graft, trained):
    for name in ("classification", "check_pets"):  # what check leaves has no checkpoint
        Path(f"runs/{name}").mkdir(parents=True)
    Path("runs/check_pets/latest").mkdir()
    Path("runs/classification/latest").symlink_to(trained)
    assert with_newest(["push", "--ckpt_path=latest"])[-1] == "runs/classification/latest"
    assert graft("report", "--run_dir", "latest", "--out", "report.html") == (0, "")
    assert graft("validate", "--ckpt_path", "latest", "--data.workers", "0", "--run_dir", "again") == (0, "")
