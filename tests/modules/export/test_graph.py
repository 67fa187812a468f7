"""Graphs of tasks: what cannot be exported is said, and channels are those of the backbone."""

import torch

from modules.backbones import Timm, by_name
from modules.contracts import ConfigError
from modules.export.graph import Normalize
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
