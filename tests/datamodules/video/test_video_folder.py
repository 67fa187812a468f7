"""Videos on disk: accepted layouts, their contents, and errors about others."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules import FrameFolder, VideoFolder, Videos
from datamodules.video import probe
from datamodules.video.videos_on_disk import VideosOnDisk
from modules.contracts import ConfigError, DataError
from tests.helpers.errors import assert_named, refuses
from tests.helpers.filmed import add_sound, cut_short, film

SMALL = {"frames": 4, "image_size": 24, "batch_size": 2, "workers": 0}


def ready(root: Path, kind: type[VideosOnDisk] = VideoFolder, **options) -> VideosOnDisk:
    data = kind(str(root), **(SMALL | options))
    data.setup("fit")
    return data


def ids(data: VideosOnDisk, split: str = "train") -> list[str]:
    return [name for batch in data.plain_dataloader(split) for name in batch["id"]]


def labels(data: VideosOnDisk, split: str = "train") -> list[int]:
    return [label for batch in data.plain_dataloader(split) for label in batch["label"].tolist()]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Folders of two classes with three videos each, for training and validation."""
    for i, name in enumerate(("train/run", "train/walk", "val/run", "val/walk")):
        for j, suffix in enumerate((".mp4", ".avi", ".mkv")):
            film(tmp_path / "clips" / name / f"{j}{suffix}", 8 + j, seed=3 * i + j)
    return tmp_path / "clips"


# Layouts -------------------------------------------------------------------------------------------------------------


def test_folders_of_classes_in_splits(clips):
    data = ready(clips)
    assert data.classes == ["run", "walk"]
    assert ids(data) == [f"train/{name}" for name in ("run/0.mp4", "run/1.avi", "run/2.mkv")] + [
        f"train/{name}" for name in ("walk/0.mp4", "walk/1.avi", "walk/2.mkv")
    ]
    assert labels(data, "val") == [0, 0, 0, 1, 1, 1]


def test_folders_of_classes_alone_are_split(clips):
    data = ready(clips / "train", val_split=0.34)
    assert (len(ids(data)), len(ids(data, "val"))) == (4, 2)


def test_lists_of_numbers_come_before_folders(clips):
    (clips / "train.txt").write_text("train/run/0.mp4 1\n\nval/walk/1.avi 2\ntrain/run/1.avi 10\n")
    (clips / "val.txt").write_text("val/walk/0.mp4\t2\n")
    data = ready(clips)
    assert data.classes == ["1", "2", "10"]
    assert ids(data) == ["train/run/0.mp4", "val/walk/1.avi", "train/run/1.avi"]
    assert (labels(data), labels(data, "val")) == ([0, 1, 2], [1])


def test_class_ind_names_the_numbers_of_lists(clips):
    (clips / "classInd.txt").write_text("7 fast walk\n3 run\n")
    (clips / "train.txt").write_text("train/run/0.mp4 3\ntrain/walk/0.mp4 7\ntrain/run/1.avi run\n")
    data = ready(clips)
    assert data.classes == ["run", "fast walk"]
    assert labels(data) == [0, 1, 0]


def test_lists_of_names_and_paths_with_blanks(clips):
    (clips / "train/run/0.mp4").rename(clips / "train/run/the first.mp4")
    (clips / "train.txt").write_text("train/run/the first.mp4 jog\ntrain/walk/0.mp4 amble\n")
    data = ready(clips)
    assert data.classes == ["amble", "jog"]
    assert ids(data)[0] == "train/run/the first.mp4"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("between", [" ", "\t", ",", "; "])
def test_lists_of_windows(clips, encoding, between):
    lines = [f"train\\run\\0.MP4{between}jög left", f"D:\\clips\\train\\walk\\0.mp4{between}amble"]
    (clips / "train.txt").write_bytes("\r\n".join(lines).encode(encoding))
    data = ready(clips)
    assert data.classes == ["amble", "jög left"]
    source, rows = data.splits["train"]
    assert [source.id(i) for i in rows] == ["train/run/0.mp4", "train/walk/0.mp4"]


def test_real_lists(data_root):
    data = ready(data_root / "asl_gesture_clips", batch_size=32)
    assert data.classes == list("ABCDEFGH")
    assert [len(data.dataset(split, "plain")) for split in ("train", "val")] == [72, 32]
    assert all("/jack_" in data.splits["train"][0].id(i) for i in range(72))  # one signer
    assert not any("/jack_" in data.splits["val"][0].id(i) for i in range(32))


def test_videos_without_classes(clips):
    data = ready(clips, Videos)
    assert data.classes is None
    assert len(ids(data)) == 12
    assert "label" not in next(iter(data.predict_dataloader()))


def test_folders_of_frames(image_folder):
    root = image_folder({"train/run/a": 6, "train/run/b": 3, "train/walk/a": 5, "val/run/c": 6, "val/walk/d": 6})
    data = ready(root, FrameFolder, val_split=0.0)
    assert ids(data) == ["train/run/a", "train/run/b", "train/walk/a"]
    source = data.splits["train"][0]
    file = Image.open(root / "train/run/a/004.png")
    assert np.array_equal(source.frames(0, np.array([1, 4]), None)[1], np.asarray(file))
    assert source.frames(0, np.array([2]), 10).shape == (1, 10, 12, 3)
    assert_named(data.describe()[0], "3 to 6", "24 x 20")


def test_what_was_found_is_said(clips):
    lines = ready(clips).describe()
    assert_named(lines[0], "train", 6, 2, "3 each", "8 to 10", "64 x 48", 25, "0.32 to 0.4")


def test_files_are_opened_once_for_all_runs(clips, monkeypatch):
    first = ready(clips).describe()
    monkeypatch.setattr(probe, "read_index", lambda path: pytest.fail(f"{path} was read again"))
    assert ready(clips).describe() == first


def test_a_file_that_changed_is_opened_again(clips):
    ready(clips)
    film(clips / "train/run/0.mp4", 21)
    assert_named(ready(clips).describe()[0], "8 to 21")


# Bad input -----------------------------------------------------------------------------------------------------------


def no_video(path: Path) -> None:
    path.write_text("not a video\n" * 100)


def only_sound(path: Path) -> None:
    import av

    with av.open(str(path), "w") as file:
        add_sound(file, file.add_stream("aac", rate=44100), 1)


BROKEN = [no_video, cut_short, only_sound]


@pytest.mark.parametrize("spoil", BROKEN)
def test_a_broken_file_stops_before_the_first_step(spoil, clips):
    spoil(clips / "train/walk/0.mp4")
    with refuses(DataError, 1, 12, clips / "train/walk/0.mp4", "--data.on_error skip"):
        ready(clips)


@pytest.mark.parametrize("spoil", BROKEN)
def test_a_broken_file_is_skipped_and_counted(spoil, clips):
    spoil(clips / "train/walk/0.mp4")
    data = ready(clips, on_error="skip")
    assert data.skipped == ["train/walk/0.mp4"]
    assert len(ids(data)) == 5
    assert_named(data.describe()[-1], 1, "skipped.txt")


def test_skipping_leaves_something(clips):
    for path in clips.glob("val/*/*.*"):
        no_video(path)
    with refuses(DataError, 6, "val", clips / "val/run/0.mp4"):
        ready(clips, on_error="skip")


@pytest.mark.parametrize(("suffix", "whole"), [(".avi", 40), (".mkv", "1.6 seconds")])
def test_how_much_is_missing_is_said(suffix, whole, clips):
    file = next((clips / "train/run").glob(f"*{suffix}"))
    cut_short(film(file, 40))
    with refuses(DataError, file, whole, "--data.on_error skip"):
        ready(clips)


def test_a_listed_file_that_is_missing(clips):
    (clips / "train.txt").write_text("train/run/0.mp4 0\ntrain/run/none.mp4 0\nval/run/0.mp4 1\n")
    with refuses(DataError, 1, 3, clips / "train/run/none.mp4", "--data.on_error skip"):
        ready(clips)
    assert len(ids(ready(clips, on_error="skip", val_split=0.0))) == 2


def test_a_class_folder_without_videos(clips):
    (clips / "train" / "jump").mkdir()
    (clips / "train" / "jump" / "notes.txt").touch()
    with refuses(DataError, clips / "train/jump"):
        ready(clips)


def test_a_class_that_training_lacks(clips):
    (clips / "val" / "walk").rename(clips / "val" / "walks")
    with refuses(DataError, clips / "val", "'walks'", clips / "train", "'walk'"):
        ready(clips)


def test_videos_where_class_folders_are_expected(clips):
    with refuses(DataError, clips / "train/run", "--data Videos"):
        ready(clips / "train" / "run")


@pytest.mark.parametrize(
    ("file", "lines", "names"),
    [
        ("train.txt", "", []),
        ("train.txt", "train/run/0.mp4 0\ntrain/run/1.avi 5\n", ["line 2", "train/run/1.avi", "'5'"]),
        ("train.txt", "train/run/0.mp4 runn\n", ["line 1", "train/run/0.mp4", "'runn'", "'run'"]),
        ("classInd.txt", "0 run\n0 walk\n", ["line 2", "'0 walk'"]),
    ],
)
def test_lists_that_say_nothing(clips, file, lines, names):
    (clips / "train.txt").write_text("train/run/0.mp4 0\n")
    (clips / "classInd.txt").write_text("0 run\n1 walk\n")
    (clips / file).write_text(lines)
    with refuses(DataError, clips / file, *names):
        ready(clips)


def test_videos_that_are_too_short(clips):
    settings = {"short_clips": "error", "frames": 10, "val_split": 0.0}
    names = ["8 of 12", clips / "train/run/0.mp4", "8 frames", 10, "data.short_clips", "loop", "pad", "3 more"]
    with refuses(DataError, *names, "--data.on_error skip"):
        ready(clips, **settings)
    assert len(ids(ready(clips, on_error="skip", **settings))) == 2
    assert len(ids(ready(clips, **(settings | {"short_clips": "pad"})))) == 6


def test_a_broken_frame_or_an_empty_folder_of_frames(image_folder):
    root = image_folder({"run/a": 4, "run/b": 4, "walk/a": 4})
    cut_short(root / "run/b/002.png")
    with refuses(DataError, 1, 3, root / "run/b", "002.png", "--data.on_error skip"):
        ready(root, FrameFolder)
    (root / "walk" / "b").mkdir()
    data = ready(root, FrameFolder, on_error="skip", val_split=0.0)
    assert (ids(data), data.skipped) == (["run/a", "walk/a"], ["run/b", "walk/b"])


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"crops": 0}, ["data.crops", 0]),
        ({"image_size": 0}, ["data.image_size", 0]),
        ({"crop": (0.5, 2.0)}, ["data.crop", [0.5, 2.0]]),
        ({"cache": True, "cache_gb": 0.0}, ["data.cache_gb", 0, "data.cache false"]),
    ],
)
def test_wrong_settings_are_named(clips, settings, names):
    with refuses(ConfigError, *names):
        ready(clips, **settings)


def test_frames_without_a_rate_have_none_to_change(image_folder):
    root = image_folder({"run/a": 6, "walk/a": 6})
    with refuses(ConfigError, "data.fps", "data.rate"):
        ready(root, FrameFolder, fps=2.0)
    assert ready(root, FrameFolder, fps=2.0, rate=4.0, val_split=0.0)
