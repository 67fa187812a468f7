"""Data settings that a checkpoint hands on: preprocessing always, samples to the same data only, training never."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonargparse import Namespace
from PIL import Image

from commands.handed_on import check_folds, find_data, handed_on, typed_data
from datamodules import ImageFolder
from datamodules.setting_roles import arguments_of, default
from modules.contracts import ConfigError
from tests.helpers.commands import results
from tests.helpers.errors import line_naming, refuses
from tests.helpers.filmed import film

KNOWN = {
    "class_path": "datamodules.ImageFolder",
    "init_args": {
        "root": "pets",
        "image_size": 96,
        "label_fraction": 0.05,
        "val_split": 0.3,
        "on_error": "skip",
        "workers": 0,
    },
}


def settings(*argv: str) -> dict:
    return handed_on(KNOWN, list(argv))["init_args"]


def test_another_data_set_gets_the_preprocessing_and_nothing_of_the_samples():
    for typed in (["--data", "UnlabeledImages", "--data.root", "photos"], ["--data.root=photos"], ["--data", "Shapes"]):
        found = settings("predict", *typed)
        assert (
            found["image_size"] == 96
            and found["workers"] == 0
            and found["label_fraction"] == 1.0
            and found["num_labels"] is None
        )
        assert not {"root", "val_split", "on_error"} & found.keys()


def test_the_same_data_keeps_its_splits_but_not_its_few_labels():
    for typed in ([], ["--data", "ImageFolder"], ["--data.val_split", "0.2"]):
        found = settings("validate", *typed)
        assert (found["root"], found["val_split"], found["on_error"], found["label_fraction"]) == (
            "pets",
            0.3,
            "skip",
            1.0,
        )


def test_a_setting_of_one_name_and_two_meanings_is_not_handed_on():
    known = {"class_path": "datamodules.DetectionFolder", "init_args": {"root": "a", "masks": True, "image_size": 64}}
    assert "masks" not in handed_on(known, ["test", "--data", "SegmentationFolder", "--data.root", "b"])["init_args"]


def test_classes_and_settings_are_found_however_they_are_typed(tmp_path):
    path = tmp_path / "data.yaml"
    path.write_text("class_path: UnlabeledImages\ninit_args: {root: photos}\n")
    for typed in (
        ["--data", "UnlabeledImages", "--data.root", "photos"],
        ["--data.class_path=UnlabeledImages", "--data.init_args.root=photos"],
        ["--data", '{"class_path": "UnlabeledImages", "init_args": {"root": "photos"}}'],
        ["--data", str(path)],
    ):
        assert typed_data(["predict", *typed]) == ("UnlabeledImages", {"root"})
    assert (
        find_data("UnlabeledImages")
        is find_data("datamodules.UnlabeledImages")
        is find_data("datamodules.images.unlabeled_images.UnlabeledImages")
    )
    assert find_data("nowhere.UnlabeledImages") is find_data("Nothing") is None


def test_data_modules_from_elsewhere_are_left_to_the_parser():
    assert handed_on({"class_path": "theirs.Data", "init_args": {"a": 1}}, ["test"])["init_args"] == {"a": 1}
    assert handed_on(KNOWN, ["test", "--data", "theirs.Data"]) == {}


# Every file of a folder is answered, from checkpoints with every data setting typed ----------------------------------

TINY = "--data.workers 0 --trainer.max_steps 1 --trainer.precision 32 --trainer.logger false --data.train 20".split()
TINY += "--data.val 4 --data.test 4 --trainer.limit_val_batches 1 --trainer.enable_progress_bar false".split()
TINY += ["--figures.samples", "1"]
FITS = {
    "classification": ("--data.batch_size 10 --data.image_size 32", "ImageFolder", "UnlabeledImages"),
    "simclr": ("--data.batch_size 10 --data.image_size 32", "ImageFolder", "UnlabeledImages"),
    "semantic_segmentation": ("--data.batch_size 4 --data.image_size 32", "CamVid", "UnlabeledImages"),
    "detection": ("--data.batch_size 4 --data.image_size 64", "DetectionFolder", "UnlabeledImages"),
    "video": ("--data.batch_size 4 --data.image_size 32 --data.frames 4", "VideoFolder", "Videos"),
    "captioning": (
        "--data.batch_size 4 --data.image_size 32 --model.search.max_length 5",
        "CaptionTable",
        "UnlabeledImages",
    ),
    "translation": (
        "--model.encoder.width 16 --model.decoder.width 16 --model.search.max_length 5",
        "Multi30k",
        "TextFile",
    ),
}
TYPED = {
    "label_fraction": 0.05,
    "val_split": 0.4,
    "on_error": "skip",
    "batch_size": 3,
    "workers": 0,
    "augment": "simclr",
}
TYPED |= {"crop": [0.1, 0.2], "scale": [0.7, 1.3], "balanced": 0.5, "iou_crop": 0.5, "mosaic": 0.5, "flip": False}
TYPED |= {
    "min_visibility": 0.3,
    "copy_paste": 0.5,
    "overflow": "cut",
    "max_length": 40,
    "batch_tokens": 300,
    "cache": True,
}
TYPED |= {"frames": 4, "image_size": 32, "clips": 2, "stride": 2, "sampling": "dense", "views": 2, "local_views": 1}
TYPED |= {"local_size": 16, "cache_on_device": True, "augment_device": "device", "root": "gone", "difficult": "use"}


def typed_everywhere(run: Path, data: str) -> Path:
    """A copy of a run's checkpoint that was trained on other data with every setting away from its default."""
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    kept = {n: v for n, v in checkpoint["datamodule_hyper_parameters"].items() if n in ("image_size", "frames")}
    found = find_data(data)
    values = {name: TYPED.get(name, default(found, name)) for name in arguments_of(found)} | kept
    checkpoint["datamodule_hyper_parameters"] = values | {"_class_path": f"datamodules.{data}"}
    path = run / "checkpoints" / "typed.ckpt"
    torch.save(checkpoint, path)
    return path


def answered(run: Path) -> int:
    """Samples with an answer in `predictions`."""
    if (run / "predict.json").is_file():
        return len([*(run / "figures").iterdir()])
    if (run / "features.npz").is_file():
        return len(np.load(run / "features.npz")["ids"])
    with (run / "predict.csv").open(newline="", encoding="utf-8") as file:
        return len(list(csv.DictReader(file)))


@pytest.fixture
def photos(tmp_path) -> Path:
    folder, random = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for i in range(21):
        Image.fromarray(random.integers(0, 256, (40, 48, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("task", FITS)
def test_every_sample_is_predicted_whatever_was_typed_in_training(task, fit_once, graft, photos, tmp_path):
    typed, trained, asked = FITS[task]
    run = fit_once("--config", f"tasks/{task}.yaml", *TINY, *typed.split())
    root, count = photos, 21
    if asked == "Videos":
        root, count = tmp_path / "films", 5
        for i in range(count):
            film(root / f"{i}.mp4", 12, size=(32, 40), seed=i)
    if asked == "TextFile":
        root = tmp_path / "in.txt"
        root.write_text("A red circle.\n" * count)
    more = ["--data", asked, "--data.root", str(root), "--run_dir", "out", "--trainer.enable_progress_bar", "false"]
    assert graft("predict", "--ckpt_path", str(typed_everywhere(run, trained)), *more)[0] == 0
    assert answered(Path("out/predictions")) == count


def test_predict_says_how_many_samples_a_limit_leaves(trained, graft, capsys):
    limited = ["--trainer.limit_predict_batches", "1", "--data.batch_size", "8"]
    assert graft("predict", "--ckpt_path", str(trained), *limited)[0] == 0
    assert "predicts the first 8 of 20 test images" in capsys.readouterr().out


def test_class_folders_without_splits_are_predicted_whole(folder):
    data = ImageFolder(str(folder / "train"), val_split=0.3, label_fraction=0.1, workers=0)
    data.setup("predict")
    assert sum(len(batch["id"]) for batch in data.predict_dataloader()) == 24


@pytest.mark.parametrize("name", ["label_fraction", "val_split"])
def test_predict_refuses_settings_that_would_leave_samples_out(refused, trained, photos, name):
    typed = ["--data", "UnlabeledImages", "--data.root", str(photos), f"--data.{name}", "0.5"]
    refused(2, ["predict", "--ckpt_path", str(trained), *typed], f"data.{name}")


def test_a_value_range_is_not_handed_on_to_images_of_another_depth(graft, refused, tmp_path, capsys):
    values = np.random.default_rng(0).random((12, 40, 48))
    for i, image in enumerate(values):
        for path in (tmp_path / "floats" / "ab"[i % 2] / f"{i}.tif", tmp_path / "photos" / f"{i}.png"):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(np.float32)).save(tmp_path / "floats" / "ab"[i % 2] / f"{i}.tif")
        Image.fromarray((image * 4095).astype(np.uint16)).save(tmp_path / "photos" / f"{i}.png")
    typed = "--data ImageFolder --data.root floats --data.val_split 0 --data.batch_size 6 --data.image_size 32".split()
    settings = [*TINY[:8], "--trainer.enable_progress_bar", "false"]
    assert graft("fit", "--config", "tasks/classification.yaml", *settings, *typed, "--run_dir", "run")[0] == 0
    predict = ["predict", "--ckpt_path", "run", "--data", "UnlabeledImages", "--data.root", "photos"]
    refused(1, predict, "data.value_range", "[0, 1]", "float32", "uint16", "null")
    capsys.readouterr()
    assert graft(*predict, "--data.value_range", "null", "--run_dir", "out")[0] == 0
    line_naming(capsys.readouterr().out.splitlines(), "uint16", "4,095", "data.value_range")
    assert answered(Path("out/predictions")) == 12


def test_probes_learn_from_all_labels_whatever_the_training_had(graft, fit_once):
    typed = [
        *TINY,
        "--data.train",
        "40",
        "--data.num_labels",
        "20",
        "--data.batch_size",
        "10",
        "--data.image_size",
        "32",
    ]
    run = fit_once("--config", "tasks/classification.yaml", *typed)
    more = "--label_fractions 1 --sgd_epochs 1 --num_images 4 --trainer.logger false --run_dir out".split()
    assert graft("evaluate", "--ckpt_path", str(run), *more)[0] == 0
    assert any("40 train" in row["protocol"] for row in results("out").values())


def test_settings_of_a_checkpoint_call_and_import_nothing(refused, trained, photos):
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    folder = {"root": str(photos.parent), "is_valid_file": "os.remove"}
    train = {"class_path": "torchvision.datasets.ImageFolder", "init_args": folder}
    checkpoint["datamodule_hyper_parameters"] = {"_class_path": "datamodules.FromDataset", "train": train}
    torch.save(checkpoint, "x.ckpt")
    refused(2, ["predict", "--ckpt_path", "x.ckpt"], "x.ckpt", "data.train", "torchvision.datasets.ImageFolder")
    typed = ["--data", "FromDataset", "--data.train", "torchvision.datasets.ImageFolder"]
    refused(2, ["predict", "--ckpt_path", "x.ckpt", *typed], "x.ckpt", "data.train.is_valid_file", "os.remove")
    transform = {"class_path": "albumentations.Lambda", "init_args": {"image": "os.system"}}
    checkpoint["datamodule_hyper_parameters"] = {"_class_path": "datamodules.Shapes", "augment": [transform]}
    checkpoint["hyper_parameters"]["head"] = "evilmod.X"
    torch.save(checkpoint, "x.ckpt")
    Path("evilmod.py").write_text("raise SystemExit(5)")
    refused(2, ["test", "--ckpt_path", "x.ckpt"], "x.ckpt", "model.head", "evilmod.X")
    refused(2, ["test", "--ckpt_path", "x.ckpt", "--model.head", "Linear"], "x.ckpt")


FOLD = {"folds": 3, "held_out_fold": 1, "fold_groups": None}


def of_data(**settings) -> Namespace:
    return Namespace(class_path="datamodules.ImageFolder", init_args=Namespace({"root": "pets", **settings}))


@pytest.mark.parametrize("command", ["test", "validate", "fit"])
@pytest.mark.parametrize("change", [{"held_out_fold": 0}, {"folds": 2}, {"fold_groups": "folder"}])
def test_folds_that_a_checkpoint_was_trained_on_are_not_tested(command, change):
    known = {"class_path": "datamodules.ImageFolder", "init_args": {"root": "pets", **FOLD}}
    with refuses(ConfigError, f"data.{next(iter(change))}"):
        check_folds(command, of_data(**FOLD | change), known)
    check_folds(command, of_data(**FOLD), known)
    check_folds(command, of_data(**FOLD | change | {"root": "other"}), known)  # of data that it has not seen
    with refuses(ConfigError, "data.folds"):
        check_folds(command, of_data(**FOLD), known | {"init_args": {"root": "pets"}})  # trained on all


def test_without_folds_the_test_set_is_the_datas_own():
    data = of_data(**FOLD | {"folds": 0})
    check_folds("test", data, {"class_path": "datamodules.ImageFolder", "init_args": {"root": "pets", **FOLD}})
    assert data.init_args.held_out_fold == 0
