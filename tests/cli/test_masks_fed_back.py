"""Predicted maps as masks of a data set: pixel values and colors are those of the data."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from datamodules import COCOSemantic, SegmentationFolder

SMALL = (
    "--data.batch_size 2 --data.image_size 32 --data.workers 0 --model.backbone resnet18 --trainer.max_epochs 1 "
    "--trainer.precision 32 --trainer.accelerator cpu --trainer.enable_progress_bar false "
    "--figures.samples 1"
).split()
COLORS = [(10, 20, 30), (250, 50, 83), (36, 179, 83)]


@pytest.fixture
def data(tmp_path):
    """Four images with masks of one color per class."""
    random = np.random.default_rng(0)
    for folder in ("JPEGImages", "SegmentationClass"):
        (tmp_path / "voc" / folder).mkdir(parents=True)
    for i in range(4):
        classes = random.integers(0, 3, (4, 5)).repeat(8, 0).repeat(8, 1)
        Image.fromarray(np.array(COLORS, np.uint8)[classes]).save(tmp_path / "voc" / "SegmentationClass" / f"{i}.png")
        Image.fromarray(random.integers(0, 256, (32, 40, 3), np.uint8)).save(
            tmp_path / "voc" / "JPEGImages" / f"{i}.jpg"
        )
    rows = (f"{name}:{r},{g},{b}::\n" for name, (r, g, b) in zip(("sky", "tree", "no"), COLORS, strict=True))
    (tmp_path / "voc" / "labelmap.txt").write_text("".join(rows))
    return tmp_path / "voc"


@pytest.mark.parametrize("table", ["classes.csv", "labelmap.txt"])
def test_maps_of_other_images_have_the_colors_of_the_training_data_and_are_masks(graft, data, tmp_path, table):
    settings = ("--config", "tasks/semantic_segmentation.yaml", *SMALL)
    assert graft("fit", *settings, "--data", "SegmentationFolder", "--data.root", str(data), "--run_dir", "run") == (
        0,
        "",
    )
    others = ("--data", "UnlabeledImages", "--data.root", str(data / "JPEGImages"), "--run_dir", "out")
    assert graft("predict", "--ckpt_path", "run", *others)[0] == 0
    back = tmp_path / "back"
    shutil.copytree(data / "JPEGImages", back / "images")
    shutil.copytree(tmp_path / "out" / "predictions" / "masks", back / "masks")
    shutil.copy((data if table == "labelmap.txt" else tmp_path / "out" / "predictions") / table, back)
    read = SegmentationFolder(str(back), val_split=0.0, workers=0)
    read.setup("fit")
    assert (read.classes, read.palette, read.mask_values) == (["sky", "tree", "no"], COLORS, [0, 1, 2])
    for i in range(4):
        with Image.open(back / "masks" / f"{i}.png") as file:
            colors = np.asarray(file.convert("RGB"))
        assert np.array_equal(np.array(COLORS)[read.splits["train"][0].mask(i)], colors)


def test_coco_has_the_ids_of_its_categories(tmp_path):
    """Predictions given to the writer without a run."""
    images = [{"id": 1, "file_name": "1.png", "height": 8, "width": 8}]
    parts = {"images": images, "annotations": [], "categories": [{"id": 44, "name": "b"}, {"id": 7, "name": "a"}]}
    (tmp_path / "annotations").mkdir()
    for kind in ("instances", "stuff"):
        (tmp_path / "annotations" / f"{kind}_train.json").write_text(json.dumps(parts))
    (tmp_path / "train").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "train" / "1.png")
    found = {}
    for kind in ("instances", "stuff"):
        read = COCOSemantic(str(tmp_path), kind, val_split=0.0, workers=0)
        read.setup("fit")
        found[kind] = dict(zip(read.classes, read.mask_values, strict=True))
    assert found == {"instances": {"background": 0, "a": 7, "b": 44}, "stuff": {"a": 7, "b": 44}}
