"""Frames of videos as images."""

from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import VideoFrames
from modules.contracts import ConfigError, DataError
from tests.helpers.errors import refuses
from tests.helpers.filmed import cut_short, film, whole

SMALL = {"image_size": 24, "batch_size": 4, "workers": 0}


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for i, name in enumerate(("run", "walk")):
        for j in range(3):
            film(tmp_path / "clips" / name / f"{j}.mp4", 10 + j, size=(48, 96), seed=3 * i + j)
    return tmp_path / "clips"


def ready(root: Path, **options) -> VideoFrames:
    data = VideoFrames(str(root), **(SMALL | options))
    data.setup("fit")
    return data


def test_every_frame_is_an_image(clips):
    data = ready(clips, val_split=0.0)
    source, rows = data.splits["train"]
    assert len(rows) == 2 * (10 + 11 + 12)
    assert source.id(12) == "run/1.mp4/000002"
    assert np.array_equal(source.image(12), whole(clips / "run" / "1.mp4")[2])
    assert (source.shape, int(source.labels[12]), int(source.labels[40])) == ((48, 96), 0, 1)


def test_one_frame_in_four_is_enough(clips):
    source, rows = ready(clips, val_split=0.0, every=4).splits["train"]
    assert [source.id(i)[-6:] for i in rows[:4]] == ["000000", "000004", "000008", "000000"]


def test_large_frames_are_shrunk_and_small_ones_left(clips):
    source, _ = ready(clips, image_size=16, val_split=0.0).splits["train"]
    assert source.image(0).shape == (32, 64, 3)
    assert source.shape == (32, 64)
    assert ready(clips, image_size=32, val_split=0.0).splits["train"][0].image(0).shape == (48, 96, 3)


def test_validation_is_of_other_videos(clips):
    data = ready(clips, val_split=0.34)
    names = {split: {source.id(i).rpartition("/")[0] for i in rows} for split, (source, rows) in data.splits.items()}
    assert (len(names["train"]), len(names["val"])) == (4, 2)
    assert not names["train"] & names["val"]


def test_views_on_cpu_and_device(clips):
    settings = {"views": 2, "crop": (0.3, 1.0), "augment": "simclr", "val_split": 0.0}
    batch = next(iter(ready(clips, **settings).train_dataloader()))
    assert [view.shape for view in batch["views"]] == [(4, 3, 24, 24)] * 2
    data = ready(clips, augment_device="device", **settings)
    batch = data.transfer_batch_to_device(next(iter(data.train_dataloader())), torch.device("cpu"), 0)
    assert [view.shape for view in batch["views"]] == [(4, 3, 24, 24)] * 2


def test_kept_frames_change_nothing(clips):
    settings = {"val_split": 0.0, "crop": (0.3, 1.0), "augment": "simclr"}
    ours, theirs = (list(ready(clips, cache=kept, **settings).train_dataloader()) for kept in (True, False))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(ours, theirs, strict=True))


def test_broken_videos_are_named_or_skipped(clips):
    cut_short(clips / "run" / "0.mp4")
    with refuses(DataError, 1, 6, clips / "run" / "0.mp4", "--data.on_error skip"):
        ready(clips)
    data = ready(clips, on_error="skip", val_split=0.0)
    assert (data.skipped, len(data.splits["train"][1])) == (["run/0.mp4"], 56)


def test_wrong_settings_are_named(clips):
    with refuses(ConfigError, "data.every", 0):
        ready(clips, every=0)
