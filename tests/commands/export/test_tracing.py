"""Networks that cannot be exported are refused in a sentence with their name."""

import torch
from torch import nn

from commands.export.tracing import reason, traced
from modules.contracts import ConfigError
from modules.export import Graph
from tests.helpers.errors import refuses


class Undecided(nn.Module):
    """Control flow that depends on values."""

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        return (image + 1 if image.sum() > 0 else image,)


def test_a_network_that_cannot_be_traced_is_named(capfd):
    graph = Graph(Undecided(), {"image": torch.ones(2, 3)}, ["features"], {"image": {0: "batch"}})
    with refuses(ConfigError, "my_net"):
        traced(graph, "my_net")
    assert capfd.readouterr() == ("", "")


def test_the_operation_is_named_wherever_it_stands():
    inner = RuntimeError("No ONNX function found for <OpOverload(op='aten.linalg_svd', overload='default')>")
    outer = RuntimeError("Failed to convert the exported program\n" * 9)
    outer.__cause__ = inner
    assert "aten::linalg_svd" in reason(outer)
    assert "\n" not in reason(ValueError("first\nsecond")) and "first" in reason(ValueError("first\nsecond"))
