"""`in_channels 1` works from the command line in every task of images, with its figures."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.commands import state

pytestmark = pytest.mark.usefixtures("drawn_figures")
YAMLS = [
    "autoencoder",
    "barlow_twins",
    "byol",
    "captioning",
    "classification",
    "detection",
    "dino",
    "ijepa",
    "instance_segmentation",
    "jigsaw",
    "keypoints",
    "mae",
    "lejepa",
    "masked_patches",
    "moco",
    "moco_v3",
    "nnclr",
    "rotation",
    "semantic_segmentation",
    "simclr",
    "simsiam",
    "supcon",
    "swav",
    "vicreg",
]
TINY = "--data.train 32 --data.val 8 --data.test 8 --data.batch_size 8 --data.workers 0".split()
TINY += "--trainer.limit_train_batches 2 --trainer.limit_val_batches 2 --trainer.limit_test_batches 2".split()
TINY += "--trainer.max_epochs 1 --figures.samples 2 --trainer.log_every_n_steps 1 --trainer.precision 32".split()
ONE = "--model.backbone Timm --model.backbone.name resnet18 --model.backbone.in_channels 1".split()


@pytest.mark.slow
@pytest.mark.parametrize("name", YAMLS)
def test_every_image_task_trains_a_network_of_one_channel(graft, name):
    size = "64" if name in ("jigsaw", "detection", "instance_segmentation", "keypoints") else "32"
    net = ["--model.backbone.name", "test_vit"] if name in ("ijepa", "mae") else []
    code, said = graft("fit", "--config", f"tasks/{name}.yaml", *TINY, "--data.image_size", size, *ONE, *net)
    assert code == 0, said
    run = Path("runs") / name / "latest"
    assert (run / "results.json").is_file()
    assert list((run / "figures").glob("*.png"))


TABLES = (Path("run/predictions/test.csv"), Path("out/predictions/predict.csv"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_digits(data_root: Path, root: Path) -> None:
    """Write 120 training and 40 test images of MNIST as gray PNG files in class folders."""
    archives = data_root / "mnist" / "MNIST" / "raw"
    if not archives.is_dir():
        pytest.skip("no mnist/MNIST/raw in the real data")
    for split, prefix, count in (("train", "train", 120), ("test", "t10k", 40)):
        with gzip.open(archives / f"{prefix}-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read(16 + count * 28 * 28), np.uint8, offset=16).reshape(-1, 28, 28)
        with gzip.open(archives / f"{prefix}-labels-idx1-ubyte.gz") as file:
            labels = file.read(8 + count)[8:]
        for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            folder = root / split / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{i}.png")


def fit_digits(graft, data_root: Path, *options: str) -> tuple[list[str], dict[str, torch.Tensor]]:
    """Train LeNet on gray digits in the folder `run`; returns the command and the weights."""
    write_digits(data_root, Path("digits"))
    typed = ["fit", "--config", "tasks/classification.yaml", "--data", "ImageFolder", "--data.root", "digits"]
    typed += "--data.channels 1 --data.image_size 32 --data.normalization mean_image --model.backbone lenet5".split()
    typed += [*"--data.workers 0 --trainer.precision 32 --run_dir run --trainer.max_epochs 1".split(), *options]
    assert graft(*typed) == (0, "")
    return typed, state(Path("run"))["state_dict"]


def test_lenet_of_gray_digits_fits_tests_and_predicts(graft, data_root):
    _, weights = fit_digits(graft, data_root)
    assert weights["backbone.net.stages.0.0.weight"].shape == (6, 1, 5, 5)
    assert weights["backbone.mean_image"].shape == (1, 32, 32)
    assert graft("test", "--ckpt_path", "run")[0] == 0
    color = Path("color")
    color.mkdir()
    for path in Path("digits").rglob("test/*/*.png"):
        Image.open(path).convert("RGB").save(color / path.name)
    typed = ["--data", "UnlabeledImages", "--data.root", "color", "--run_dir", "out"]
    assert graft("predict", "--ckpt_path", "run", *typed)[0] == 0
    gray, color = ({Path(row["path"]).name: row["label"] for row in rows(path)} for path in TABLES)
    assert len(gray) == 40 and gray == color


@pytest.mark.slow
def test_gray_digits_with_a_mean_image_resume_and_are_exported(graft, data_root):
    typed, first = fit_digits(graft, data_root, "--model.ema_decay", "0.9")
    assert graft(*typed, "--ckpt_path", "run", "--trainer.max_epochs", "2")[0] == 0
    assert torch.equal(state(Path("run"))["state_dict"]["backbone.mean_image"], first["backbone.mean_image"])
    assert graft("export", "--ckpt_path", "run")[0] == 0  # answers as the run does


def test_colorization_of_one_channel_is_refused_by_the_setting(refused):
    typed = ["fit", "--config", "tasks/colorization.yaml", *TINY, "--data.image_size", "32", *ONE]
    refused(2, typed, "in_channels", "1", "--data.channels 3", "--model.backbone.in_channels 3")
