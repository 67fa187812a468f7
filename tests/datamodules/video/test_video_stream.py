"""Whole videos frame by frame, in order."""

import numpy as np
import pytest

from datamodules import VideoStream
from modules.contracts import ConfigError, DataError
from tests.helpers.errors import refuses
from tests.helpers.filmed import cut_short, film, whole


def ready(root, stage: str = "predict", letterbox: bool = True, **options) -> VideoStream:
    data = VideoStream(str(root), batch_size=4, workers=0, **options)
    data.set_letterbox(letterbox)
    data.setup(stage)
    return data


def test_every_frame_comes_once_and_in_order(tmp_path):
    film(tmp_path / "a.mp4", 6, size=(32, 48), times=[0, 40, 120, 160, 200, 240])
    film(tmp_path / "sub" / "b.avi", 3, size=(40, 24), seed=1)
    batches = list(ready(tmp_path).predict_dataloader())
    assert [len(batch["id"]) for batch in batches] == [4, 2, 3]  # none of two videos
    assert batches[1]["id"] == ["a.mp4/000004", "a.mp4/000005"] and batches[2]["film"] == ["sub/b.avi"] * 3
    frames = np.concatenate([batch["image"].permute(0, 2, 3, 1).numpy() for batch in batches[:2]])
    assert np.array_equal(frames, whole(tmp_path / "a.mp4"))
    assert np.allclose(np.concatenate([batch["seconds"] for batch in batches[:2]]), [0, 0.04, 0.12, 0.16, 0.2, 0.24])
    assert batches[2]["inside"].tolist() == [[40, 24]] * 3


def test_what_it_is_not_for_is_said(tmp_path):
    film(tmp_path / "a.mp4", 3)
    for options in ({"stage": "fit"}, {"letterbox": False}):
        with refuses(ConfigError, "VideoStream", "predict"):
            ready(tmp_path, **options)
    cut_short(film(tmp_path / "b.mp4", 30))
    with refuses(DataError, "b.mp4"):
        ready(tmp_path)
    assert len(list(ready(tmp_path, on_error="skip").predict_dataloader())) == 1
    with pytest.raises(DataError):
        ready(tmp_path / "none")
