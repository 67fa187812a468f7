"""Video batches: shapes, views, one draw per clip, the same for any number of workers, and the disk cache."""

from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import VideoFolder
from datamodules.video import source
from modules.contracts import ConfigError, DataError
from tests.helpers.batches import assert_same, epoch
from tests.helpers.errors import line_naming, refuses
from tests.helpers.filmed import cut_short, film, whole

SMALL = {"frames": 4, "image_size": 24, "batch_size": 2, "workers": 0, "val_split": 0.0}


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for i, name in enumerate(("run", "walk")):
        for j in range(3):
            film(tmp_path / "clips" / name / f"{j}.mp4", 20 + j, size=(48, 96), seed=3 * i + j)
    return tmp_path / "clips"


def ready(root: Path, **options) -> VideoFolder:
    data = VideoFolder(str(root), **(SMALL | options))
    data.setup("fit")
    return data


def video(data: VideoFolder, number: int = 0) -> dict[str, torch.Tensor]:
    """The training clip of each file in an epoch."""
    return {name: clip for batch in epoch(data, number) for name, clip in zip(batch["id"], batch["video"], strict=True)}


def test_batches_of_training(clips):
    batches = epoch(ready(clips, crop=(0.5, 1.0), augment="simclr"))
    assert len(batches) == 3
    for batch in batches:
        assert batch["video"].shape == (2, 3, 4, 24, 24)
        assert batch["video"].dtype == torch.uint8
        assert batch["video"].is_contiguous(memory_format=torch.channels_last_3d)
        assert batch["label"].dtype == torch.int64
        assert all(isinstance(name, str) for name in batch["id"])


def test_frames_and_colors_are_in_order(clips):
    """Against whole decoding: the middle frame of each segment, center crop, RGB."""
    data = ready(clips, frames=5, image_size=48)
    batch = next(iter(data.plain_dataloader("train")))
    every = whole(clips / "run" / "0.mp4")
    assert np.array_equal(batch["video"][0].permute(1, 2, 3, 0), every[[2, 6, 10, 14, 18], :, 24:72])


def test_several_clips_and_crops_are_neighbors(clips):
    data = ready(clips, frames=5, image_size=48, clips=2, crops=3)
    batch = next(iter(data.plain_dataloader("train")))
    assert (batch["video"].shape, len(batch["id"])) == ((12, 3, 5, 48, 48), 2)
    for name, views in zip(batch["id"], batch["video"].unflatten(0, (2, 6)), strict=True):
        every, shown = whole(clips / name), views.permute(0, 2, 3, 4, 1)
        for view, (clip, left) in enumerate((clip, left) for clip in range(2) for left in (0, 24, 48)):
            steps = ((np.arange(5) + 0.25 + clip / 2) * len(every) / 5).astype(int)
            assert np.array_equal(shown[view], every[steps, :, left : left + 48])


def test_validation_test_and_prediction_see_all_views(clips):
    data = ready(clips, clips=2, crops=3, val_split=0.5)
    assert next(iter(data.val_dataloader()))["video"].shape[0] == 2 * 6
    assert next(iter(data.predict_dataloader()))["video"].shape[0] == 2 * 6
    assert next(iter(data.train_dataloader()))["video"].shape[0] == 2


def test_all_frames_of_a_clip_share_crop_and_colors(tmp_path):
    for i, name in enumerate(("a", "b")):  # a video that stands still
        film(tmp_path / "still" / name / "0.mp4", 1, seed=i)
    data = ready(tmp_path / "still", crop=(0.2, 0.6), augment="strong", image_size=80)
    clips = video(data)
    assert len(clips) == 2
    for clip in clips.values():
        assert all(torch.equal(clip[:, 0], clip[:, t]) for t in range(4))
    others = video(data, number=1)
    assert not any(torch.equal(clip, others[name]) for name, clip in clips.items())


def test_a_clip_hangs_on_seed_epoch_and_video_alone(clips, monkeypatch):
    settings = {"crop": (0.3, 1.0), "augment": "simclr"}
    first = video(ready(clips, **settings))
    again = video(ready(clips, batch_size=3, **settings))
    assert all(torch.equal(clip, again[name]) for name, clip in first.items())
    later = video(ready(clips, **settings), number=1)
    assert not any(torch.equal(clip, later[name]) for name, clip in first.items())
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    assert not any(torch.equal(clip, first[name]) for name, clip in video(ready(clips, **settings)).items())


@pytest.mark.integration
def test_two_workers_equal_none(clips):
    settings = {"crop": (0.3, 1.0), "augment": "flip", "sampling": "dense", "stride": 2}
    assert_same(epoch(ready(clips, workers=2, **settings), 3), epoch(ready(clips, **settings), 3))


def test_flips_can_be_left_out(clips):
    data = ready(clips, augment="flip", flip=False)
    plain = ready(clips)
    assert_same(epoch(data), epoch(plain))
    flipped = [video(ready(clips, augment="flip"), e) for e in range(4)]
    mirrored = [torch.equal(c, video(plain, e)[n].flip(-1)) for e, part in enumerate(flipped) for n, c in part.items()]
    assert 4 < sum(mirrored) < 20  # out of 24


def test_a_list_of_transforms_says_itself_whether_it_flips(clips):
    import albumentations as A

    with refuses(ConfigError, "data.flip", "false", "data.augment"):
        ready(clips, augment=[A.HorizontalFlip()], flip=False)
    assert ready(clips, augment=[A.HorizontalFlip()])


def test_the_target_rate_is_that_of_the_clip(tmp_path):
    """Shown twice as fast after the middle: by time stamps the brightness rises evenly."""
    times = [40 * i for i in range(20)] + [800 + 20 * i for i in range(20)]
    film(tmp_path / "run" / "a.mp4", 40, times=times, rate=50)
    film(tmp_path / "walk" / "a.mp4", 40, times=times, rate=50)
    settings = {"sampling": "dense", "frames": 30, "image_size": 48}
    data = ready(tmp_path, fps=25.0, **settings)
    shown = next(iter(data.plain_dataloader("train")))["video"][0, :, :, 30:].float().mean((0, 2, 3))
    frames = whole(tmp_path / "run" / "a.mp4")[:, 30:, 8:56].mean((1, 2, 3))
    assert shown.numpy() == pytest.approx(frames[[*range(20), *range(20, 40, 2)]], abs=0.01)


def test_a_file_that_breaks_later_is_named_or_skipped(clips):
    data, skipping = ready(clips), ready(clips, on_error="skip", batch_size=6)
    cut_short(clips / "run" / "1.mp4")
    with refuses(DataError, clips / "run" / "1.mp4", 21, "--data.on_error skip"):
        epoch(data)
    (batch,) = epoch(skipping)
    assert batch["skipped"] == ["run/1.mp4"]
    assert (len(batch["id"]), len(batch["video"])) == (5, 5)


def test_a_batch_of_which_nothing_is_left_stops(clips):
    data = ready(clips, on_error="skip", batch_size=6)
    for path in clips.glob("*/*.mp4"):
        path.unlink()
    with refuses(DataError, "run/2.mp4"):
        epoch(data)


# Frames kept on disk -------------------------------------------------------------------------------------------------


@pytest.mark.integration
@pytest.mark.parametrize("workers", [0, 2])
def test_kept_frames_change_nothing(clips, own_cache, workers):
    settings = {"crop": (0.3, 1.0), "augment": "simclr"}
    decoded = [epoch(ready(clips, **settings), e) for e in (0, 1)]
    data = ready(clips, cache=True, workers=workers, **settings)
    for number in (0, 1):
        assert_same(epoch(data, number), decoded[number])
    kept = list((own_cache / "frames").iterdir())
    assert len(kept) == 6
    assert np.load(kept[0]).dtype == np.uint8
    assert line_naming(data.describe(), "6 of 6", own_cache / "frames")


def test_kept_videos_are_not_decoded_again(clips, monkeypatch):
    first = epoch(ready(clips, cache=True))
    monkeypatch.setattr(source, "read_frames", lambda *_: pytest.fail("decoded again"))
    assert_same(epoch(ready(clips, cache=True)), first)


def test_no_more_is_kept_than_allowed(clips, own_cache):
    one = 20 * 24 * 48 * 3
    data = ready(clips, cache=True, cache_gb=2.5 * one / 1e9)
    epoch(data)
    files = list((own_cache / "frames").iterdir())
    assert len(files) == 2
    assert sum(file.stat().st_size for file in files) < 2.5 * one
    assert_same(epoch(data), epoch(ready(clips)))


def test_kept_frames_of_a_file_that_changed_are_made_anew(clips):
    epoch(ready(clips, cache=True))
    film(clips / "run" / "0.mp4", 20, size=(48, 96), seed=99)
    assert_same(epoch(ready(clips, cache=True)), epoch(ready(clips)))
