"""Fractional max pooling: torch's regions, the sizes of the max pooling, fixed regions in evaluation."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from modules.backbones import by_name
from modules.backbones.pooling import FractionalMaxPool, pool_axis, regions, use_fractional_pooling
from modules.contracts import ConfigError
from tasks import SimCLR
from tests.helpers.errors import refuses


@pytest.mark.parametrize(("size", "cells"), [((12, 9), (8, 6)), ((7, 5), (5, 1))])
def test_regions_and_their_maxima_are_those_of_torch(size, cells):
    torch.manual_seed(0)
    x, samples = torch.randn(3, 4, *size), torch.rand(3, 2)
    torchs = functional.fractional_max_pool2d(x, 2, output_size=cells, _random_samples=samples[:, None].expand(3, 4, 2))
    ours = pool_axis(x, 2, regions(size[0], cells[0], samples[:, 1]))  # torch's samples are of width and height
    assert torch.equal(pool_axis(ours, 3, regions(size[1], cells[1], samples[:, 0])), torchs)


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 3, ceil_mode=True)])
def test_sizes_are_those_of_the_max_pooling_and_regions_are_drawn_in_training_alone(pool):
    fractional, x = FractionalMaxPool(pool), torch.randn(2, 3, 17, 30)
    assert fractional(x).shape == pool(x).shape
    assert not torch.equal(fractional(x), fractional(x))
    fractional.eval()
    assert torch.equal(fractional(x), fractional(x))
    assert torch.equal(fractional(x)[:1], fractional(x[:1]))
    small = torch.randn(2, 3, 3, 5)
    assert fractional(small).shape == pool(small).shape


@pytest.mark.parametrize("name", ["resnet18", "torchvision/squeezenet1_1"])
def test_networks_of_all_libraries_keep_their_maps_and_tensors(name):
    backbone = by_name(name)
    names, image = list(backbone.state_dict()), torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        before = [one.shape for one in backbone.eval()(image)]
        use_fractional_pooling(backbone)
        assert [one.shape for one in backbone(image)] == before
    assert list(backbone.state_dict()) == names
    assert any(isinstance(layer, FractionalMaxPool) for layer in backbone.net.modules())


def test_a_network_without_max_pooling_is_refused():
    with refuses(ConfigError, "model.pooling", "fractional", "test_vit"):
        SimCLR(backbone="test_vit", pooling="fractional")
