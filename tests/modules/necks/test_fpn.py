"""The feature pyramid network against torchvision's on a ResNet with the same weights."""

import pytest
import torch
from torch import nn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from modules.backbones import Timm
from modules.contracts import ConfigError, Features
from modules.heads import UNet
from modules.necks import FPN
from tests.helpers.errors import refuses

RESNET = Features([64, 64, 128, 256, 512], [2, 4, 8, 16, 32])


@pytest.mark.parametrize(
    ("levels", "extra", "blocks", "strides"),
    [
        (4, "pool", LastLevelMaxPool(), [4, 8, 16, 32, 64]),
        (3, "p6p7", LastLevelP6P7(256, 256), [8, 16, 32, 64, 128]),
    ],
)
@pytest.mark.parametrize("size", [(96, 64), (97, 53)], ids=["even", "odd"])
def test_maps_are_torchvisions_with_its_weights(levels, extra, blocks, strides, size):
    returned = list(range(1, 5))[-levels:]
    settings = {"returned_layers": returned, "extra_blocks": blocks, "norm_layer": nn.BatchNorm2d, "weights": None}
    reference = resnet_fpn_backbone(backbone_name="resnet18", **settings).eval()
    backbone = Timm("resnet18").eval()
    neck = FPN(backbone.features, levels=levels, extra=extra).eval()
    backbone.net.load_state_dict(reference.body.state_dict())
    neck.net.load_state_dict(reference.fpn.state_dict())
    image = torch.randn(1, 3, *size)
    maps = neck(backbone(image))
    torch.testing.assert_close(maps, list(reference(image).values()), atol=1e-5, rtol=1e-4)
    assert neck.features == Features([256] * 5, strides)


@pytest.mark.parametrize("extra", ["none", "pool", "p6p7"])
@pytest.mark.parametrize("strides", [[2, 4, 8, 16, 32], [1, 1, 2, 4, 8], [4, 8, 8, 8], [16]])
def test_announced_channels_and_strides_are_those_of_the_maps(strides, extra):
    features = Features([8 * (i + 1) for i in range(len(strides))], strides)
    neck = FPN(features, channels=12, extra=extra)
    maps = neck([torch.randn(1, c, 128 // s, 256 // s) for c, s in zip(*features, strict=True)])
    expected = [(1, c, max(1, 128 // s), 256 // s) for c, s in zip(*neck.features, strict=True)]
    assert [tuple(m.shape) for m in maps] == expected


def test_only_the_coarsest_maps_go_in():
    assert FPN(RESNET, levels=2).features.strides == [16, 32]


def test_a_head_stands_on_it():
    neck = FPN(RESNET, channels=16)
    maps = [torch.randn(1, c, 64 // s, 96 // s) for c, s in zip(*RESNET, strict=True)]
    assert UNet(neck.features, 3)(neck(maps)).shape == (1, 3, 64, 96)


def test_a_pyramid_without_maps_is_refused():
    with refuses(ConfigError, "neck.levels", 0):
        FPN(RESNET, levels=0)
