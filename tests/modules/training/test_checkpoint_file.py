"""Checkpoints that are damaged, or hold other values than a training saves."""

from pathlib import Path

import pytest
import torch

from modules.contracts import DataError
from modules.training.checkpoint_file import read_checkpoint
from tests.helpers.errors import refuses


def test_one_flipped_byte_in_a_tensor_is_noticed(tmp_path):
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": {"a": torch.full((1000,), 3.0)}}, path)
    read_checkpoint(path)
    data = bytearray(path.read_bytes())
    data[data.index(torch.full((1000,), 3.0).numpy().tobytes()) + 2001] ^= 1
    path.write_bytes(data)
    for mapped in (False, True):
        with refuses(DataError, path, "data/0"):
            read_checkpoint(path, mapped)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hyper_parameters", None),
        ("hyper_parameters", [1]),
        ("hyper_parameters._class_path", 3),
        ("datamodule_hyper_parameters._class_path", 3),
        ("loops", None),
        ("loops.fit_loop", 3),
        ("callbacks", 3),
        ("backbone.prefix", None),
        ("state_dict.a", "text"),
        ("epoch", "3"),
    ],
)
def test_values_of_other_types_are_named(tmp_path, name, value):
    path, checkpoint = tmp_path / "x.ckpt", {"state_dict": {"a": torch.zeros(1)}}
    section, _, key = name.partition(".")
    checkpoint[section] = checkpoint.get(section, {}) | {key: value} if key else value
    torch.save(checkpoint, path)
    with refuses(DataError, path, name):
        read_checkpoint(Path(path))
