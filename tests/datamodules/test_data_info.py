"""Facts that each kind of data module gives to tasks."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from datamodules import (
    FromDataset,
    LatentSamples,
    Shapes,
    ShapesCaptions,
    ShapesMasks,
    ShapesObjects,
    ShapesSentences,
    ShapesVideo,
    UnlabeledImages,
)
from modules.contracts.data_info import DataInfo

SMALL = {"train": 12, "val": 4, "test": 4, "workers": 0, "batch_size": 3}
LAZY = ("class_counts", "class_pixels", "box_sizes", "references")


def known(data) -> set[str]:
    """Names of the costly facts that a data module has, after `setup`."""
    data.setup("fit")
    info = data.data_info()
    assert info.name == type(data).__name__
    return {name for name in LAZY if getattr(info, name)() is not None}


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        (Shapes, {"class_counts"}),
        (ShapesVideo, {"class_counts"}),
        (ShapesMasks, {"class_pixels"}),
        (ShapesObjects, {"box_sizes"}),
        (ShapesCaptions, {"references"}),
        (ShapesSentences, set()),
    ],
)
def test_each_kind_of_data_knows_its_own_facts(data, facts):
    assert known(data(**SMALL)) == facts


def test_images_without_labels_and_noise_know_none(image_folder):
    assert known(UnlabeledImages(image_folder({"train": 4}), workers=0)) == set()
    assert known(LatentSamples(4)) == set()


def test_a_plain_dataset_counts_the_classes_of_its_labels():
    items = [(torch.zeros(3, 8, 8), label) for label in (0, 1, 1)]
    data = FromDataset(train=items, image_size=8, workers=0)
    assert known(data) == {"class_counts"}
    assert data.data_info().class_counts().tolist() == [1, 2]


def test_facts_are_those_of_the_data_module():
    data = Shapes(**SMALL)
    data.setup("fit")
    info = data.data_info()
    assert (info.classes, info.batch_size, info.per_step) == (data.classes, 3, 3)
    assert (
        info.class_counts().tolist()
        == np.bincount(data.splits["train"][0].labels, minlength=len(data.classes)).tolist()
    )


def test_what_is_known_before_setup_needs_none():
    info = Shapes(**SMALL).data_info()
    assert info.classes and info.batch_size == 3


def test_sentences_count_tokens_in_a_step():
    info = ShapesSentences(**SMALL, batch_tokens=512).data_info()
    assert (info.batch_size, info.per_step) == (3, 512)


@pytest.mark.parametrize("masks", [False, True])
def test_boxes_say_if_masks_and_proposals_come_with_them(masks):
    data = ShapesObjects(**SMALL, masks=masks)
    data.setup("fit")
    info = data.data_info()
    assert (info.masks, info.proposals) == (masks, False)
    assert info.box_sizes().shape == (sum(len(data.splits["train"][0].objects(i)) for i in range(12)), 2)


def test_captions_are_those_of_the_training_images():
    data = ShapesCaptions(**SMALL)
    data.setup("fit")
    assert data.data_info().references() == data.references("train")
    assert data.data_info().cache_features(lambda image: torch.zeros(len(image), 2, 1, 1).half(), "key")


def test_data_without_training_images_has_no_facts_about_them(pair_folder):
    data = ShapesMasks(**SMALL)
    data.setup("fit")
    del data.splits["train"]
    assert data.data_info().class_pixels() is None


def test_copies_of_a_task_share_the_data():
    info = DataInfo(class_counts=lambda: np.ones(2))
    assert deepcopy({"data": info})["data"] is info
