"""Published networks from the command line: prediction without training, training on their own classes only."""

import csv

import numpy as np
import pytest
import timm
import torch
from PIL import Image

NETWORK = "--config tasks/classification.yaml --model.backbone test_convnext --model.head pretrained".split()
QUIET = "--data.image_size 64 --trainer.precision 32 --trainer.enable_progress_bar false --figures.samples 1".split()


@pytest.fixture
def published(monkeypatch) -> torch.nn.Module:
    """Timm's network of 1,000 classes, as downloaded by `--model.weights pretrained`."""
    torch.manual_seed(0)
    whole, create = timm.create_model("test_convnext").eval(), timm.create_model
    with torch.no_grad():
        whole.get_classifier().bias.normal_()

    def fetched(name: str, pretrained: bool = False, **options) -> torch.nn.Module:
        return whole if pretrained else create(name, **options)

    monkeypatch.setattr(timm, "create_model", fetched)
    return whole


def test_predict_needs_no_checkpoint_and_names_the_librarys_classes(graft, tmp_path, published):
    (tmp_path / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photos" / "a.png")
    data = ["--data", "UnlabeledImages", "--data.root", "photos", "--run_dir", "run"]
    code, said = graft("predict", *NETWORK, "--model.weights", "pretrained", *data, *QUIET)
    assert code == 0, said
    (row,) = csv.DictReader((tmp_path / "run" / "predictions" / "predict.csv").open())
    config = published.pretrained_cfg
    image = torch.tensor(pixels).permute(2, 0, 1)[None] / 255
    image = (image - torch.tensor(config["mean"]).view(-1, 1, 1)) / torch.tensor(config["std"]).view(-1, 1, 1)
    with torch.no_grad():
        best = int(published(image).argmax())
    from timm.data import ImageNetInfo

    assert row["label"] == ImageNetInfo().index_to_description(best)


def test_other_classes_are_refused(refused, published):
    typed = ["fit", *NETWORK, "--model.weights", "pretrained", "--run_dir", "run", *QUIET]
    refused(2, typed, "1000", "test_convnext", "10", "--model.head")


def test_a_run_of_it_is_tested_from_its_checkpoint(graft, tmp_path, published):
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in range(1000):
            (tmp_path / "in1k" / split / f"n{name:04}").mkdir(parents=True)
            image = Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8))
            image.save(tmp_path / "in1k" / split / f"n{name:04}" / "a.png")
    data = ["--data", "ImageFolder", "--data.root", "in1k", "--data.workers", "0"]
    few = ["--trainer.max_steps", "1", "--trainer.limit_val_batches", "1"]
    pretrained = ["--model.weights", "pretrained", "--run_dir", "run"]
    code, said = graft("fit", *NETWORK, *pretrained, *data, *QUIET, *few)
    assert code == 0, said
    code, said = graft("validate", "--ckpt_path", "run", *data, *QUIET, "--run_dir", "again", *few[2:])
    assert code == 0, said
