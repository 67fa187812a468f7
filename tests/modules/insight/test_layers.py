"""Layers by name, recorded outputs and their gradients."""

import pytest
import torch
from torch import nn

from modules.contracts import ConfigError
from modules.insight.layers import differentiable, find_layer, gradients, layer_names, leaf, recorded
from tests.helpers.errors import refuses


class Small(nn.Module):
    """A convolution whose output the next layer overwrites."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
        self.fc = nn.Linear(4, 2)

    def forward(self, image):
        return self.fc(self.backbone.net(image).mean((2, 3)))


def test_layers_are_found_by_their_names_with_or_without_the_backbone():
    network = Small()
    assert layer_names(network) == ["backbone", "backbone.net", "backbone.net.0", "backbone.net.1", "fc"]
    assert find_layer(network, "0") is find_layer(network, "backbone.net.0") is network.backbone.net[0]
    with refuses(ConfigError, "'fcc'", "'fc'"):
        find_layer(network, "fcc")


def test_a_recorded_output_keeps_its_values_and_gradient_when_it_is_overwritten_later():
    network, image = Small(), torch.randn(2, 3, 5, 5)
    with torch.inference_mode(), differentiable(network), recorded({"conv": network.backbone.net[0]}) as outputs:
        score = network(leaf(image))[:, 1]
        (gradient,) = gradients(score, [outputs["conv"]])
    expected = nn.functional.conv2d(image, network.backbone.net[0].weight, network.backbone.net[0].bias)
    assert torch.allclose(outputs["conv"], expected, atol=1e-6) and (outputs["conv"] < 0).any()
    weight = network.fc.weight[1].view(1, 4, 1, 1) / 9
    assert torch.allclose(gradient, weight * (expected > 0))
    assert network.training and all(one.requires_grad for one in network.parameters())


def test_gradients_are_never_zero_without_a_word():
    with torch.inference_mode(), pytest.raises(RuntimeError, match="gradients are off"):
        leaf(torch.ones(2))
    with torch.no_grad(), pytest.raises(RuntimeError, match="gradients are off"):
        leaf(torch.ones(2))
    with differentiable(), pytest.raises(RuntimeError):
        gradients(torch.ones(2, requires_grad=True), [leaf(torch.ones(2))])
