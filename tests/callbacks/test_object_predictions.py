"""Figures of predicted detections."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from callbacks.figures.objects import object_palette
from callbacks.predictions import Predictions
from modules.contracts import ConfigError
from tests.helpers.errors import refuses
from tests.helpers.small_objects import CLASSES, ORIGINAL, Finder, ObjectData

PALETTE = object_palette(len(CLASSES))


@pytest.fixture
def predict(trainer, tmp_path):
    """Predict the images of that name; returns the folder and the callback."""

    def run(names=None, masks=True, **settings):
        callback = Predictions(**settings)
        trainer(callback).predict(Finder(masks), datamodule=ObjectData(names=names))
        return tmp_path / "predictions", callback

    return run


RESULTS = ("predict_bbox.json", "predict_segm.json")


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def near(image, color):
    """Number of pixels of a JPEG with about that color."""
    return int((np.abs(image.astype(int) - color).max(2) < 60).sum())


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_each_image_is_drawn_in_its_original_size_under_its_own_path_beside_the_results(predict):
    folder, callback = predict()
    names = ObjectData().test_dataloader().dataset.names
    assert files(folder) == {"predict.csv", "classes.csv", *RESULTS, *(f"figures/{name}" for name in names)}
    assert callback.files == [*(folder / name for name in (*RESULTS, "predict.csv", "classes.csv")), folder / "figures"]
    assert {read(folder / "figures" / name).shape for name in names} == {(*ORIGINAL, 3)}
    found = json.loads((folder / RESULTS[0]).read_text())
    assert len(found) == 20 + 19  # a whole image each, and the objects
    with (folder / "classes.csv").open(newline="") as file:
        classes = {int(row["id"]): row["name"] for row in csv.DictReader(file)}
    assert [*classes.values()] == CLASSES
    assert classes[max(found, key=lambda one: one["bbox"][2])["category_id"]] == CLASSES[0]  # found in the whole image


@pytest.mark.parametrize("masks", [False, True])
def test_what_is_found_is_drawn_in_the_color_of_its_class(predict, masks):
    folder, _ = predict(masks=masks)
    data = ObjectData().test_dataloader().dataset
    for number, name in enumerate(data.names):
        drawn = read(folder / "figures" / name)
        assert near(drawn, PALETTE[0]) < 10  # its score is too low
        assert number % 3 or near(drawn, PALETTE[1]) < 10
        for left, top, right, bottom in data[number]["truth"]["boxes"].int().tolist():
            around = drawn[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2]
            assert near(around, PALETTE[1]) > 20


def test_the_threshold_says_what_is_drawn(predict):
    folder, _ = predict(threshold=0.4)
    name = ObjectData().test_dataloader().dataset.names[0]
    assert near(read(folder / "figures" / name), PALETTE[0]) > 50
    with refuses(ConfigError, "predictions.threshold", 50):
        Predictions(threshold=50)


def test_images_that_differ_only_in_their_ending_keep_it(predict):
    folder, _ = predict(["a/x.jpg", "a/x.png", "b/x.jpg", "../up.tif", "twice.png", "twice.png"])
    expected = {"a/x.jpg.jpg", "a/x.png.jpg", "b/x.jpg", "_up/up.jpg", "twice.jpg"}
    assert files(folder / "figures") == expected


def test_a_test_draws_no_images_of_all(trainer, tmp_path):
    trainer(Predictions()).test(Finder(), datamodule=ObjectData(), verbose=False)
    assert files(tmp_path / "predictions") == {"test_bbox.json", "test_segm.json", "test.csv", "classes.csv"}


def test_detections_are_drawn_over_the_original_where_the_data_has_it_up_to_a_size(trainer, tmp_path, monkeypatch):
    data = ObjectData(names=["a.jpg"])
    data.original = lambda name: np.full((*ORIGINAL, 3), len(name) * 40, np.uint8)  # brighter than the seen ones
    for largest, size in ((2048, ORIGINAL), (32, (24, 32))):
        monkeypatch.setattr("callbacks.writers.images.LARGEST", largest)
        trainer(Predictions(threshold=1.0)).predict(Finder(), datamodule=data)
        drawn = read(tmp_path / "predictions" / "figures" / "a.jpg")
        assert drawn.shape == (*size, 3) and (drawn.min() > 190) == (largest == 2048)
