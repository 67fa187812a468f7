"""Receptive fields against those of the literature.

Araujo, Norris and Sim 2019, "Computing receptive fields of convolutional neural networks".
"""

import pytest
import torch
from torch import nn

from modules.backbones import Timm, by_name
from modules.insight.receptive import receptive_boxes, receptive_fields


@pytest.mark.parametrize(
    ("name", "last"),
    [("alexnet", 195), ("mobilenetv1_100", 315), ("resnet18", 435), ("vgg11", 150)],
)
def test_the_coarsest_map_sees_what_the_literature_says(name, last):
    fields = receptive_fields(by_name(name), 64)
    assert fields[-1] == last
    assert fields == sorted(fields)


def test_every_level_of_a_resnet_by_arithmetic():
    """7x7 stride 2 and max-pool 3x3 stride 2, then two blocks of two 3x3 a stage."""
    assert receptive_fields(by_name("torchvision/resnet18"), 32) == [7, 43, 99, 211, 435]


def test_attention_and_squeeze_and_excitation_see_everything():
    assert receptive_fields(Timm("test_vit"), 32) == [None]
    assert receptive_fields(Timm("resnet18", attention="se"), 32)[1:] == [None] * 4


def test_boxes_of_cells_lie_where_arithmetic_puts_them_and_weights_stay():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4))
    nn.init.zeros_(network[0].weight[:2])  # a dead channel sees as far
    before = {name: value.clone() for name, value in network.state_dict().items()}
    boxes = receptive_boxes(network, network, torch.zeros(1, 3, 32, 24), [(0, 0), (3, 2), (7, 5)])
    assert boxes == [(0, 0, 4, 4), (7, 11, 12, 16), (19, 27, 24, 32)]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training and network[0].weight.dtype == torch.float32
