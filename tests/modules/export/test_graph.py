"""Graphs of tasks: what cannot be exported is said, and channels are those of the backbone."""

import resource

import torch
from torch import nn

from commands.export.torch_file import write_torch
from modules.backbones import Timm, by_name
from modules.contracts import ConfigError, DataError
from modules.export.graph import Graph, Normalize
from modules.export.preprocess import Preprocess
from tasks import Task
from tests.helpers.errors import refuses


class Plain(Task):
    """A task without graphs."""


def test_a_task_without_export_is_named():
    with refuses(ConfigError, "Plain", "export"):
        Plain().graphs(Preprocess())


def test_pixels_are_normalized_as_those_of_batches():
    image = torch.randint(256, (2, 3, 8, 9), dtype=torch.uint8)
    for backbone in (by_name("test_resnet"), Timm("test_resnet", in_channels=1)):
        assert torch.allclose(Normalize(backbone)(image.float()), backbone.normalize(image), atol=1e-6)


def test_a_full_disk_is_one_sentence(tmp_path):  # torch's own writer of files ends the process
    graph = Graph(nn.Sequential(nn.Linear(99, 99), nn.ReLU()), {"image": torch.zeros(2, 99)}, ["features"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9999, before[1]))
    try:
        with refuses(DataError, tmp_path / "model", "--out"):
            write_torch(graph, tmp_path / "model", {}, "net")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
