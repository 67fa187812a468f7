"""Roles of settings: every argument of every data module has one, by which checkpoints hand it on to commands."""

import pytest

import datamodules
from datamodules import DataModule
from datamodules.setting_roles import arguments_of, roles_of

ROLES = {
    "input": """image_size tokenizer vocab_size shared_vocab max_length lowercase classes values ignore kind difficult
        views local_views local_size local_crop augment_device value_range frames sampling stride fps short_clips clips
        crops channels""",
    "loading": "batch_size workers batch_tokens strict cache cache_gb max_pixels",
    "location": "root val_source val_target test_source test_target",
    "samples": """val_split folds held_out_fold fold_groups on_error fold train val test color_correlation every rate
        count format year download file mask_suffix proposals column separator""",
    "training": """label_fraction num_labels overflow scale balanced iou_crop mosaic copy_paste min_visibility tile_size
        tile_overlap empty_tiles
        cache_on_device flip scale_jitter erasing erasing_prob repeats consistent_views normalization""",
}
"""Settings with the same role in every data module."""
OWN = {
    ("ImageDataModule", "crop"): "input",  # views of pretraining are judged, too
    ("ImageDataModule", "augment"): "input",
    ("VideoDataModule", "crop"): "input",  # frames are kept in the size that it needs
    ("VideoDataModule", "augment"): "input",  # several clips of contrastive pretraining are judged, too
    ("VideoDataModule", "flip"): "input",
    ("SplitData", "crop"): "training",
    ("SplitData", "augment"): "training",
    ("CaptionTable", "images"): "location",
    ("FromDataset", "train"): "location",  # the data themselves
    ("FromDataset", "val"): "location",
    ("FromDataset", "test"): "location",
    ("FromDataset", "classes"): "samples",
    ("SegmentationFolder", "images"): "samples",
    ("SegmentationFolder", "masks"): "samples",
    ("ObjectDataModule", "masks"): "input",
    ("ObjectDataModule", "keypoints"): "input",
    ("ObjectDataModule", "flip_pairs"): "training",
    ("ParallelText", "source"): "location",
    ("ParallelText", "target"): "location",
    ("Multi30k", "source"): "samples",
    ("Multi30k", "target"): "samples",
}
"""Others, by the class that a data module is or comes from."""


def classes(base: type = DataModule) -> list[type]:
    return [base, *(c for sub in base.__subclasses__() for c in classes(sub) if c.__module__.startswith("datamodules"))]


@pytest.mark.parametrize("data", classes(), ids=lambda data: data.__name__)
def test_every_argument_has_the_role_that_the_table_says(data):
    known = {name: role for role, names in ROLES.items() for name in names.split()}
    lines = [part.__name__ for part in data.__mro__]
    for (owner, name), role in sorted(
        OWN.items(), key=lambda item: item[0][0] not in lines or -lines.index(item[0][0])
    ):
        if owner in lines:
            known[name] = role
    assert roles_of(data) == {name: known[name] for name in arguments_of(data)}


@pytest.mark.parametrize("data", classes(), ids=lambda data: data.__name__)
def test_roles_are_declared_of_arguments_and_of_each(data):
    declared = {name for part in data.__mro__ for name in vars(part).get("roles", {})}
    assert declared >= arguments_of(data).keys()
    assert vars(data).get("roles", {}).keys() <= arguments_of(data).keys()


def test_every_public_data_module_is_in_the_table():
    assert {c.__name__ for c in classes()} >= set(datamodules.__all__)
