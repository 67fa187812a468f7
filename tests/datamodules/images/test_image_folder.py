"""Folders of images: accepted layouts, and errors about others."""

import unicodedata
from pathlib import Path

import pytest

from datamodules import ImageFolder, UnlabeledImages
from datamodules.images.unlabeled_images import split_title
from modules.contracts import DataError
from tests.helpers.errors import line_naming, refuses

SMALL = {"image_size": 16, "batch_size": 2, "workers": 0}


def sizes(data: ImageFolder | UnlabeledImages) -> dict[str, int]:
    return {split: len(data.dataset(split, "plain")) for split in ("train", "val", "test") if data.has(split)}


def make_images(root: Path, stage: str = "fit", **options) -> ImageFolder:
    data = ImageFolder(str(root), **SMALL, **options)
    data.setup(stage)
    return data


# Layouts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_folders_for_training_validation_and_test(image_folder, val):
    data = make_images(
        image_folder({"train/cat": 4, "train/dog": 3, f"{val}/cat": 2, f"{val}/dog": 1, "test/cat": 1, "test/dog": 1})
    )
    assert sizes(data) == {"train": 7, "val": 3, "test": 2}
    assert data.classes == ["cat", "dog"]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_class_may_be_spelled_in_another_unicode_form_in_each_split(image_folder, forms):
    train, val = (unicodedata.normalize(form, "für") for form in forms)
    data = make_images(image_folder({f"train/{train}": 2, "train/dog": 2, f"val/{val}": 2}))
    assert data.classes == ["dog", unicodedata.normalize("NFC", "für")]
    source, rows = data.splits["val"]
    assert source.labels[rows].tolist() == [1, 1]


def test_a_flat_folder_of_classes_is_split(image_folder):
    data = make_images(image_folder({"dog": 20, "cat": 20}), val_split=0.25)
    assert sizes(data) == {"train": 30, "val": 10}
    assert data.classes == ["cat", "dog"]


def test_classes_are_known_before_images_are_read(image_folder):
    assert ImageFolder(str(image_folder({"dog": 1, "cat": 1, "ant": 1}))).classes == ["ant", "cat", "dog"]


def test_images_below_a_class_folder_belong_to_it(image_folder):
    data = make_images(image_folder({"cat/indoors": 3, "cat/outdoors/night": 2, "dog": 2}), val_split=0.0)
    assert data.splits["train"][0].labels.tolist() == [0] * 5 + [1] * 2


def test_other_files_and_hidden_folders_are_passed_over(image_folder):
    root = image_folder({"cat": 3, "dog": 3, ".cache": 3})
    (root / "labels.csv").write_text("cat,dog")
    (root / "cat" / "notes.txt").write_text("a cat")
    data = make_images(root, val_split=0.0)
    assert (data.classes, sizes(data)) == (["cat", "dog"], {"train": 6})


def test_a_class_may_be_absent_from_validation_and_keeps_its_index(image_folder):
    data = make_images(image_folder({"train/ant": 2, "train/cat": 2, "val/cat": 2}))
    assert data.splits["val"][0].labels.tolist() == [1, 1]


def test_names_that_are_not_ascii_survive(image_folder):
    data = make_images(image_folder({"Bär": 2, "猫": 2}), val_split=0.0)
    assert data.classes == ["Bär", "猫"]
    assert [data.dataset("train", "plain")[0, i]["id"] for i in (0, 2)] == ["Bär/000.png", "猫/000.png"]


def test_images_are_named_by_their_path_below_the_root(image_folder):
    data = make_images(image_folder({"train/cat": 2, "test/cat": 1}), val_split=0.0)
    assert data.dataset("test", "plain")[0, 0]["id"] == "test/cat/000.png"


def test_a_test_set_alone_names_the_classes_but_is_never_trained_on(image_folder):
    data = make_images(image_folder({"test/cat": 4, "test/dog": 4}), stage="test")
    assert (data.classes, sizes(data)) == (["cat", "dog"], {"test": 8})
    assert sum(len(batch["id"]) for batch in data.test_dataloader()) == 8
    with refuses(DataError, "ImageFolder", "test", "--data.root"):
        data.train_dataloader()


def test_testing_without_a_test_set_is_refused(image_folder):
    with refuses(DataError, "ImageFolder", "test", "--data.root"):
        make_images(image_folder({"cat": 4})).test_dataloader()


# Refused folders -----------------------------------------------------------------------------------------------------


def test_a_root_that_does_not_exist_is_refused_with_the_nearest(image_folder):
    root = image_folder({"cat": 1}, name="pets")
    with refuses(DataError, "data.root", root.parent / "pet", "'pets'"):
        ImageFolder(str(root.parent / "pet"))


def test_a_root_whose_parent_does_not_exist_either_says_so(tmp_path):
    with refuses(DataError, "data.root", tmp_path / "nowhere" / "pets", f"{tmp_path / 'nowhere'})"):
        ImageFolder(str(tmp_path / "nowhere" / "pets"))


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "pets.zip").touch()
    with refuses(DataError, "data.root", tmp_path / "pets.zip"):
        ImageFolder(str(tmp_path / "pets.zip"))


@pytest.mark.parametrize("inside", ["", "train"])
def test_an_empty_root_is_refused(tmp_path, inside):
    root = tmp_path / "pets" / inside
    root.mkdir(parents=True)
    with refuses(DataError, root):
        ImageFolder(str(tmp_path / "pets"))


def test_images_without_class_folders_are_sent_to_images(image_folder):
    root = image_folder({".": 3})
    with refuses(DataError, root, "--data UnlabeledImages"):
        ImageFolder(str(root))


@pytest.mark.parametrize("where", ["", "train", "val"])
def test_a_class_folder_without_images_is_refused_by_name(image_folder, where):
    layout = {"cat": 3, "dog": 3} if not where else {"train/cat": 3, "train/dog": 3, "val/cat": 3}
    root = image_folder(layout)
    empty = root / where / ("dog" if where == "val" else "eel")
    empty.mkdir(parents=True)
    (empty / "notes.txt").touch()
    with refuses(DataError, empty):
        make_images(root)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_that_training_lacks_is_refused_with_the_nearest(image_folder, split):
    root = image_folder({"train/cat": 3, "train/dog": 3, f"{split}/cats": 3})
    with refuses(DataError, root / split, "'cats'", root / "train", "'cat'"):
        make_images(root)


# UnlabeledImages -------------------------------------------------------------------------------------------------


def test_images_predicts_every_image_below_the_root_in_order(image_folder):
    root = image_folder({".": 2, "b": 2, "a/c": 1})
    data = UnlabeledImages(str(root), **SMALL)
    data.setup("predict")
    names = [name for batch in data.predict_dataloader() for name in batch["id"]]
    assert names == ["000.png", "001.png", "a/c/000.png", "b/000.png", "b/001.png"]
    assert split_title(data, "train") == root.name


def test_images_has_no_labels(image_folder):
    data = UnlabeledImages(str(image_folder({".": 8})), **SMALL, views=2, crop=(0.2, 1.0), augment="simclr")
    data.setup("fit")
    assert set(next(iter(data.train_dataloader()))) == {"views", "id"}
    assert data.classes is None


def test_images_sets_validation_images_aside_for_pretraining(image_folder):
    data = UnlabeledImages(str(image_folder({".": 20})), **SMALL, val_split=0.2)
    data.setup("fit")
    assert sizes(data) == {"train": 16, "val": 4}
    assert split_title(data, "train") == "train"


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_images_without_images_is_refused(tmp_path, kind):
    root = tmp_path / kind
    if kind == "empty":
        root.mkdir()
    with refuses(DataError, root):
        UnlabeledImages(str(root)).setup("predict")


def test_the_most_frequent_class_is_the_baseline_and_imbalance_is_said(image_folder):
    data = ImageFolder(str(image_folder({"train/cat": 6, "train/dog": 2, "val/cat": 1, "val/dog": 3})), workers=0)
    data.setup("fit")
    assert data.class_counts().tolist() == [6, 2]
    assert data.majority_accuracy("val") == 0.25
    assert data.majority_accuracy("test") is None
    assert line_naming(data.describe_classes(), "val", "0.250", "'cat'")
    assert line_naming(data.describe_classes(), "--model.head.class_weights auto")
    assert line_naming(data.describe_classes(remedy=False), "6", "'cat'", "2", "'dog'")
    assert not any("class_weights" in line for line in data.describe_classes(remedy=False))


def test_images_without_classes_have_no_baseline_and_no_class_counts(image_folder):
    data = UnlabeledImages(str(image_folder({"train": 10})), workers=0)
    data.setup("fit")
    assert data.majority_accuracy("val") is None
    assert data.class_counts() is None
