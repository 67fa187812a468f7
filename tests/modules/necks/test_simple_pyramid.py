"""The pyramid for backbones of one map."""

import pytest
import torch
from torch import nn

from modules.contracts import ConfigError, Features
from modules.necks import FPN, NoNeck, SimplePyramid, build_neck
from tests.helpers.errors import refuses

VIT = Features([64], [16])
RESNET = Features([64, 128], [8, 16])


@pytest.mark.parametrize(
    ("stride", "strides", "channels"),
    [
        (16, [4, 8, 16, 32], [16, 32, 64, 64]),
        (32, [4, 8, 16, 32], [8, 16, 32, 64]),
        (8, [4, 8, 16, 32], [32, 64, 64, 64]),
        (14, [7, 14, 28], [32, 64, 64]),
    ],
)
def test_one_map_becomes_several(stride, strides, channels):
    pyramid = SimplePyramid(Features([64], [stride]))
    assert tuple(pyramid.features) == (channels, strides)
    side = 224 // stride
    maps = pyramid([torch.rand(2, 64, side, side)])
    assert [tuple(m.shape) for m in maps] == [
        (2, c, 224 // s, 224 // s) for c, s in zip(channels, strides, strict=True)
    ]


def test_a_coarser_map_keeps_what_is_no_whole_cell():
    maps = SimplePyramid(VIT)([torch.rand(1, 64, 3, 5)])
    assert [tuple(m.shape[2:]) for m in maps] == [(12, 20), (6, 10), (3, 5), (2, 3)]


def test_the_levels_are_those_of_the_paper():
    """ViTDet: transposed convolution, norm, GELU, transposed convolution; one; the map itself; max-pool."""
    kinds = [[type(layer).__name__ for layer in level.modules()][1:] for level in SimplePyramid(VIT).levels]
    assert kinds[0] == ["ConvTranspose2d", "LayerNorm2d", "GELU", "ConvTranspose2d"]
    assert kinds[1:] == [["ConvTranspose2d"], [], []]
    cells = torch.rand(1, 64, 4, 4)
    assert torch.equal(SimplePyramid(VIT)([cells])[2], cells)
    assert torch.equal(SimplePyramid(VIT)([cells])[3], nn.functional.max_pool2d(cells, 2))


def test_a_neck_on_one_map_stands_on_the_pyramid():
    neck = build_neck(VIT, lambda features: FPN(features, channels=32, levels=3, extra="pool"))
    assert tuple(neck.features) == ([32] * 4, [8, 16, 32, 64])
    assert [tuple(m.shape) for m in neck([torch.rand(1, 64, 4, 4)])] == [(1, 32, s, s) for s in (8, 4, 2, 1)]


def test_a_pyramid_that_is_there_stays():
    assert isinstance(build_neck(RESNET, None), NoNeck)
    assert isinstance(build_neck(RESNET, FPN), FPN)
    assert isinstance(build_neck(Features([64], [1]), None), NoNeck)  # one fine map is what a U-Net wants
    assert isinstance(build_neck(VIT, None), SimplePyramid)
    assert isinstance(build_neck(VIT, NoNeck), NoNeck)
    assert isinstance(build_neck(VIT, SimplePyramid), SimplePyramid)
    with refuses(ConfigError, "SimplePyramid", [8, 16], "--model.neck"):
        build_neck(RESNET, SimplePyramid)
