"""Video decoding by seeking: the same frames as decoding all and indexing, with less work."""

import resource
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from datamodules.video import decode
from datamodules.video.decode import read_frames
from datamodules.video.index import read_index
from modules.contracts import DataError
from tests.helpers.errors import refuses
from tests.helpers.filmed import add_sound, cut_short, film, frames, index, whole

KINDS = {
    "mp4": ("a.mp4", {}),
    "mp4 of hidden B-frames": ("a.mp4", {"options": {"bf": "4", "b-pyramid": "strict"}}),
    "mp4 of open groups": ("a.mp4", {"options": {"x264-params": "open-gop=1:keyint=12:bframes=3"}}),
    "avi": ("a.avi", {}),
    "avi with B-frames": ("a.avi", {"options": {"bf": "2"}}),
    "avi of H.264": ("a.avi", {"codec": "libx264"}),
    "mkv": ("a.mkv", {}),
    "webm": ("a.webm", {}),
    "gif": ("a.gif", {}),
    "mpeg": ("a.mpeg", {}),
    "motion JPEG": ("a.avi", {"codec": "mjpeg", "options": {"strict": "unofficial"}}),
    "with sound": ("a.mp4", {"sound": True}),
    "turned": ("a.mp4", {"turned": 90}),
    "variable rate": ("a.mp4", {"times": [i * 40 + 300 * (i > 12) + i * i for i in range(40)]}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_those_of_the_whole_file(kind, tmp_path):
    name, options = KINDS[kind]
    path = film(tmp_path / name, 40, **options)
    found, every, random = index(path), whole(path), np.random.default_rng(0)
    assert len(found.times) == len(every) == 40
    for count in (1, 2, 5, 16, 40):
        wanted = np.sort(random.choice(40, count, replace=False))
        assert np.array_equal(read_frames(path, found, wanted), every[wanted])


@pytest.mark.parametrize("folder", ["surv_fight", "asl_gesture_clips"])
def test_frames_of_real_files_are_those_of_the_whole_file(folder, data_root):
    files = sorted((data_root / folder).glob("*/*.*"))[::13]
    random = np.random.default_rng(0)
    for path in files:
        found, every = index(path), whole(path)
        wanted = np.sort(random.choice(len(every), 8, replace=False))
        assert np.array_equal(read_frames(path, found, wanted), every[wanted]), path
        small = read_frames(path, found, wanted, 100)
        size = small.shape[2:0:-1]
        theirs = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in every[wanted]])
        assert np.abs(small.astype(int) - theirs).mean() < 2, path


def test_the_files_frames_are_about_what_was_filmed(tmp_path):
    path = film(tmp_path / "a.mp4", 20, options={"crf": "1"})
    shown = read_frames(path, index(path), np.array([3, 17])).astype(int)
    assert np.abs(shown - frames(20)[[3, 17]])[:, 30:].mean() < 3  # the half without noise


def test_a_late_frame_costs_the_group_it_lies_in_and_no_more(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4", 120)
    found, decoded = index(path), []
    original = decode._decoded

    def counted(*args):
        for frame in original(*args):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(decode, "_decoded", counted)
    read_frames(path, found, np.array([0, 100]))
    assert len(found.keys) >= 10
    assert len(decoded) < 15  # out of 120


def test_only_wanted_frames_are_converted(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4", 40)
    found, converted = index(path), []
    original = decode._pixels
    monkeypatch.setattr(decode, "_pixels", lambda *args: converted.append(1) or original(*args))
    read_frames(path, found, np.array([1, 20, 39]))
    assert len(converted) == 3


def test_the_demuxer_itself_leaves_sound_out(tmp_path):
    path = film(tmp_path / "a.mp4", 40, sound=True)
    counts = []
    for prepare in (lambda file: None, decode.only_video):
        with av.open(str(path)) as file:
            prepare(file)
            kinds = [packet.stream.type for packet in file.demux() if packet.size]
        counts.append((kinds.count("video"), kinds.count("audio")))
    (video, audio), (kept, left) = counts
    assert video == kept == 40
    assert audio > 50
    assert left < 3  # read when the file was opened


def test_a_turned_video_stands_upright(tmp_path):
    lying, upright = film(tmp_path / "a.mp4"), film(tmp_path / "b.mp4", turned=90)
    found = index(upright)
    assert (found.shape, found.upright, found.turns) == ((48, 64), (64, 48), 1)
    assert np.array_equal(read_frames(upright, found, np.array([4])), np.rot90(whole(lying)[[4]], 1, (1, 2)))


def test_a_smaller_image_is_that_of_the_whole_one_shrunk(tmp_path):
    path = film(tmp_path / "a.mp4", 12, size=(96, 160), turned=90)
    small = read_frames(path, index(path), np.array([2, 5]), 48)
    assert small.shape == (2, 80, 48, 3)
    for ours, large in zip(small, whole(path)[[2, 5]], strict=True):
        theirs = cv2.resize(large, (48, 80), interpolation=cv2.INTER_AREA)
        assert np.abs(ours.astype(int) - theirs)[:, 32:].mean() < 1  # less than a gray level, without the noise


def test_a_video_that_changes_size_keeps_that_of_its_first_frame(tmp_path):
    parts = [film(tmp_path / f"{i}.mpeg", 12, size=size) for i, size in enumerate([(48, 64), (96, 128)])]
    path = tmp_path / "both.mpeg"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with av.open(str(path)) as file:
        assert len({frame.width for frame in file.decode(video=0)}) == 2
    found = index(path)
    shown = read_frames(path, found, np.array([0, len(found.times) - 1]))
    assert shown.shape == (2, 48, 64, 3)
    assert shown[1, 30:].mean() > shown[0, 30:].mean() + 100  # brighter toward its end, as it was filmed


def test_wrong_places_of_key_frames_cost_time_only(tmp_path):
    path = film(tmp_path / "a.mp4", 40)
    found = index(path)
    lying = found._replace(keys=found.times[[0, 15]])  # no key frame
    assert np.array_equal(read_frames(path, lying, np.array([2, 20])), whole(path)[[2, 20]])


# Undecodable files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv", "a.gif", "a.mpeg"])
def test_a_file_that_is_cut_short_is_found(name, tmp_path):
    path = film(tmp_path / name, 40)
    assert not isinstance(read_index(path), str)
    assert isinstance(read_index(cut_short(path)), str)


def test_other_files_are_found_too(tmp_path):
    text, sound, empty = (tmp_path / name for name in ("text.mp4", "sound.mp4", "empty.mp4"))
    text.write_text("no video at all\n" * 50)
    empty.touch()
    with av.open(str(sound), "w") as file:
        add_sound(file, file.add_stream("aac", rate=44100), 1)
    reasons = [read_index(path) for path in (text, sound, empty, tmp_path / "none.mp4")]
    assert all(isinstance(reason, str) for reason in reasons)
    assert reasons[0] == reasons[2] and len(set(reasons)) == 3, "no video, sound alone and no file are told apart"


def test_a_file_that_changed_is_named_with_the_frame(tmp_path):
    path = film(tmp_path / "a.mp4", 40)
    found = index(path)
    film(path, 20)
    with refuses(DataError, path, "frame 30", 40, "--data.on_error skip"):
        read_frames(path, found, np.array([3, 30]))
    path.unlink()
    with refuses(DataError, path, "frame 3", 40, "--data.on_error skip"):
        read_frames(path, found, np.array([3, 30]))


def test_twenty_passes_need_no_more_memory_than_five(tmp_path):
    paths = [film(tmp_path / f"{i}{end}", 40, size=(144, 176)) for i, end in enumerate((".mp4", ".avi", ".gif"))]
    found, wanted = [index(path) for path in paths], np.arange(0, 40, 4)

    def read(times: int) -> int:
        for _ in range(times):
            for path, where in zip(paths, found, strict=True):
                read_frames(path, where, wanted)
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc here to read the memory from")
    before = read(5)
    # one file's frames are 3 MB, so each container left open would show after 20 passes of three files
    assert read(20) - before < 6e6
