"""Plain torch datasets as data modules."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from datamodules import FromDataset
from datamodules.images.from_dataset import as_bytes
from modules.contracts import ConfigError, DataError
from tests.helpers.errors import refuses


class Listed(Dataset):
    """The items of a list."""

    def __init__(self, items, **attributes):
        self.items, self.read = items, 0
        vars(self).update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        self.read += 1
        return self.items[index]


def images(count: int = 8) -> torch.Tensor:
    return torch.rand(count, 3, 8, 8)


def data(train: Dataset, **settings) -> FromDataset:
    made = FromDataset(train, image_size=8, batch_size=4, workers=0, **settings)
    made.setup()
    return made


def test_floats_are_taken_as_0_to_1():
    floats = images(4)
    batch = next(iter(data(TensorDataset(floats), val_split=0).plain_dataloader("train")))
    assert batch["image"].dtype == torch.uint8
    assert torch.equal(batch["image"], (floats * 255).round().to(torch.uint8))


def test_the_forms_of_an_image_are_equal():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    for form in (Image.fromarray(pixels), tensor, tensor / 255, pixels / 255):
        assert np.array_equal(as_bytes(form), pixels)
    assert as_bytes(torch.ones(3, 6, 8, dtype=torch.bfloat16)).min() == 255


def test_gray_images_get_three_channels():
    gray = np.arange(48, dtype=np.uint8).reshape(6, 8)
    for form in (gray, gray[..., None], torch.from_numpy(gray)[None], Image.fromarray(gray)):
        assert np.array_equal(as_bytes(form), np.repeat(gray[..., None], 3, 2))


@pytest.mark.parametrize(
    ("image", "named"),
    [
        (torch.randn(3, 8, 8).clamp(-2, -1), "-"),
        (torch.full((3, 8, 8), 255.0), "255"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "int64"),
        (torch.zeros(8, 8, 3), "(8, 8, 3)"),
        (np.zeros((3, 8, 8), np.uint8), "(3, 8, 8)"),
        (torch.full((3, 8, 8), torch.nan), "nan"),
        (Image.new("I;16", (8, 8)), "I;16"),
        (torch.zeros(3, 0, 8, dtype=torch.uint8), "pixels"),
    ],
    ids=[
        "normalized",
        "floats to 255",
        "whole numbers",
        "other layout",
        "other layout of arrays",
        "nan",
        "16 bits",
        "no pixels",
    ],
)
def test_what_is_ambiguous_is_refused(image, named):
    with refuses(DataError, "data.train", "item 0", named):
        data(Listed([(image, 0)]))


def test_labels_come_from_pairs_dicts_and_lists_of_targets():
    labels = [0, 1, 1, 0]
    pairs = Listed(list(zip(images(4), torch.tensor(labels), strict=True)))
    dicts = Listed([{"image": image, "label": label} for image, label in zip(images(4), labels, strict=True)])
    listed = Listed([(image, -1) for image in images(4)], targets=labels, classes=["cat", "dog"])
    for dataset in (pairs, dicts, listed):
        assert data(dataset, val_split=0).class_counts().tolist() == [2, 2]
    assert listed.read == 1  # the first, to see that it is an image
    assert data(Subset(listed, [0, 1, 2]), val_split=0).class_counts().tolist() == [1, 2]
    assert data(Subset(listed, [0, 1, 2]), val_split=0).classes == ["cat", "dog"]


@pytest.mark.parametrize("form", [torch.tensor, np.array, lambda tags: torch.tensor(tags, dtype=torch.float32)])
def test_vectors_of_0_and_1_are_the_tags_of_an_image(form):
    tags = [[0, 1, 1], [0, 0, 0], [1, 0, 1], [0, 1, 0]]
    made = data(Listed([*zip(images(4), map(form, tags), strict=True)], classes=["cat", "dog", "red"]), val_split=0)
    batch = next(iter(made.plain_dataloader("train")))
    assert batch["tags"].dtype == torch.uint8 and batch["tags"].tolist() == tags and "label" not in batch
    assert made.data_info().class_counts().tolist() == [1, 2, 2]
    assert made.describe()[0].startswith("train: 4 images of 3 tags")


@pytest.mark.parametrize(
    ("labels", "settings"),
    [
        ([[0, 1], [0, 2]], {}),
        ([[0, 1], [0, 0.5]], {}),
        ([[0, 1], [0, 1, 1]], {}),
        ([[0, 1], [1, 1]], {"classes": ["cat", "dog", "red"]}),
        ([[0, 1], [1, 1]], {"test": Listed([(torch.rand(3, 8, 8), 1)])}),
    ],
)
def test_vectors_that_are_no_tags_of_the_classes_are_refused(labels, settings):
    items = [*zip(images(2), map(torch.tensor, labels), strict=True)]
    with refuses(DataError, "label", "data.test" if "test" in settings else "data.train"):
        data(Listed(items), **settings)


def test_images_without_labels_are_for_pretraining():
    made = data(Listed(list(images())), views=2)
    assert made.classes is None
    assert len(next(iter(made.train_dataloader()))["views"]) == 2


def test_masks_are_refused():
    with refuses(DataError, "data.train", "item 0", "mask"):
        data(Listed([{"image": images(1)[0], "mask": torch.zeros(8, 8)}]))


def test_a_stream_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(images())

        def __len__(self):
            return 8

    with refuses(ConfigError, "data.train", "Stream"):
        data(Stream())


def test_labels_beyond_the_classes_are_refused():
    with refuses(DataError, "data.classes", 2):
        data(Listed([(images(1)[0], 2)]), classes=["cat", "dog"])


def test_one_split_without_labels_is_refused():
    with refuses(DataError, "data.train", "data.val"):
        data(Listed([(images(1)[0], 0)]), val=Listed(list(images(1))))


def test_one_item_without_a_label_is_refused():
    first, second = images(2)
    with refuses(DataError, "data.train", "item 1"):
        data(Listed([(first, 0), (second, None)]))


def test_as_many_targets_as_items_are_needed():
    with refuses(DataError, "data.train", "targets", 3, 4):
        data(Listed([(image, 0) for image in images(4)], targets=[0, 1, 0]))


@pytest.mark.parametrize("classes", [2, "ab", len, ["cat", "cat"]], ids=["number", "text", "function", "twice"])
def test_classes_are_a_list_of_different_names(classes):
    with refuses(ConfigError, "data.classes"):
        data(Listed([(image, label % 2) for label, image in enumerate(images(4))]), classes=classes)


def test_an_array_of_classes_is_a_list():
    made = data(Listed([(images(1)[0], 0)]), classes=np.array(["cat", "dog"]), val_split=0)
    assert made.classes == ["cat", "dog"]
