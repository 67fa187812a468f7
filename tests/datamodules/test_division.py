"""Folds of a cross-validation: a partition, stratified, by groups; what cannot be divided is refused by name."""

import numpy as np
import pytest

from datamodules import ImageFolder
from datamodules.division import fold_of, groups_of
from modules.contracts import ConfigError, DataError
from tests.helpers.errors import refuses

LABELS = np.repeat([0, 1, 2], [50, 30, 20])


def test_folds_have_the_same_share_of_every_class():
    folds = fold_of(LABELS, "abc", None, 5, 100)
    counts = np.array([np.bincount(LABELS[folds == k], minlength=3) for k in range(5)])
    assert (counts == [10, 6, 4]).all()
    assert (folds == fold_of(LABELS, "abc", None, 5, 100)).all()  # whatever the random state of the process


@pytest.mark.parametrize("labels", [LABELS, None])
def test_a_group_stays_in_one_fold(labels):
    groups = np.arange(100) // 5
    folds = fold_of(labels, "abc", groups, 4, 100)
    assert all(len(set(folds[groups == group])) == 1 for group in range(20))
    assert set(folds) == {0, 1, 2, 3}


def test_too_many_folds_are_refused():
    with refuses(ConfigError, "data.folds", 21, "'c'", 20):
        fold_of(LABELS, "abc", None, 21, 100)
    with refuses(ConfigError, "data.folds", 5, "4 groups"):
        fold_of(None, (), np.arange(100) // 25, 5, 100)


def test_groups_are_folders_or_a_column(tmp_path):
    names = ["a/1.png", "a/2.png", "b/1.png"]
    assert groups_of(names, "folder").tolist() == ["a", "a", "b"]
    table = tmp_path / "groups.csv"
    table.write_text("path,patient\n" + "".join(f"{name},p{i % 2}\n" for i, name in enumerate(names)))
    assert groups_of(names, f"{table}:patient").tolist() == ["p0", "p1", "p0"]
    with refuses(ConfigError, "data.fold_groups", "visit", "patient"):
        groups_of(names, f"{table}:visit")
    with refuses(DataError, "c/1.png", 1, 4):
        groups_of([*names, "c/1.png"], f"{table}:patient")
    table.write_text("path,patient\na/1.png,p0\na/1.png,p1\n")
    with refuses(DataError, "a/1.png", "p0", "p1"):
        groups_of(names, f"{table}:patient")
    with refuses(ConfigError, "data.fold_groups", "patients"):
        groups_of(names, "patients")


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"folds": 1}, "folds"),
        ({"folds": 3, "held_out_fold": 3}, "held_out_fold"),
        ({"fold_groups": "folder"}, "fold_groups"),
        ({"held_out_fold": 1}, "held_out_fold"),
    ],
)
def test_impossible_settings_are_refused(settings, name, image_folder):
    with refuses(ConfigError, f"data.{name}"):
        ImageFolder(str(image_folder({"train/cat": 4, "train/dog": 4})), **settings)


def test_held_out_folds_are_the_test_sets_and_together_all_training_images(image_folder):
    root = str(image_folder({"train/cat": 9, "train/dog": 6, "test/cat": 2, "test/dog": 2}))
    held = []
    for fold in range(3):
        data = ImageFolder(root, folds=3, held_out_fold=fold, val_split=0.25, workers=0)
        data.setup()
        source, rows = data.splits["test"]
        parts = [set(data.splits[split][1].tolist()) for split in ("train", "val", "test")]
        assert not (parts[0] & parts[2] or parts[1] & parts[2] or parts[0] & parts[1])
        assert len(set.union(*parts)) == 15 and len(parts[2]) == 5
        held += [source.id(row) for row in rows]
    assert len(set(held)) == 15 and all(name.startswith("train/") for name in held)
