"""Pipes, sockets and devices among the files of data and weights are refused with a sentence and never opened."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from commands.yaml_text import check_yaml
from datamodules import ImageFolder, UnlabeledImages
from datamodules.decoding import read_image
from datamodules.detection.formats.coco import _load as load_coco
from datamodules.detection.formats.voc import _is_annotation
from datamodules.detection.proposals import read_proposals
from datamodules.duplicates import tail
from datamodules.inspection import inspect
from datamodules.segmentation.files import open_mask
from datamodules.text.lines import read_lines
from datamodules.text_files import read_text
from datamodules.video.index import read_index
from modules.contracts import ConfigError, DataError
from modules.training.checkpoint_file import read_plain
from tests.helpers.errors import refuses
from tests.helpers.images import save

pytestmark = pytest.mark.timeout(20)  # a pipe that is opened waits for ever


def mask(path: Path) -> None:
    with open_mask(path):
        pass


READERS = {
    "image": read_image,
    "mask": mask,
    "list": read_text,
    "sentences": read_lines,
    "coco": lambda path: load_coco(path, masks=False, keypoints=False),
    "voc": lambda path: _is_annotation(path, path.parent),
    "proposals": lambda path: read_proposals(path, {}, skip=False),
    "checkpoint": read_plain,
}


@pytest.fixture
def pipe(tmp_path) -> Path:
    os.mkfifo(tmp_path / "a.pipe")
    return tmp_path / "a.pipe"


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_named(reader, pipe):
    with refuses(DataError, pipe.name, "pipe"):
        READERS[reader](pipe)


def test_devices_and_sockets_are_no_images_videos_or_weights(tmp_path, pipe):
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.png"))
        assert "socket" in inspect(tmp_path / "s.png").problem
    assert "device" in inspect(tmp_path / "zero.png").problem and "device" in read_index(tmp_path / "zero.png")
    assert "pipe" in read_index(pipe) and tail(pipe) == 0


def test_a_pipe_in_place_of_a_yaml_is_named(pipe):
    pipe = pipe.rename(pipe.with_suffix(".yaml"))
    with refuses(ConfigError, pipe, "pipe"):
        check_yaml(["fit", "--model.optim", str(pipe)])


def test_images_beside_a_pipe_are_read_and_links_to_images_too(tmp_path):
    for name in ("cat/0.png", "dog/0.png"):
        save(np.full((8, 8, 3), len(name), np.uint8), tmp_path / "pets" / name)
    (tmp_path / "pets" / "cat" / "1.png").symlink_to(tmp_path / "pets" / "dog" / "0.png")
    os.mkfifo(tmp_path / "pets" / "cat" / "2.png")
    with refuses(DataError, "cat/2.png", "pipe", "--data.on_error skip"):
        ImageFolder(str(tmp_path / "pets")).setup()
    data = UnlabeledImages(str(tmp_path / "pets"), on_error="skip", val_split=0)
    data.setup()
    assert len(data.splits["train"][1]) == 3 and data.skipped == ["cat/2.png"]
    assert (data.original("dog/0.png") == 9).all()
