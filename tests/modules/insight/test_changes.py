"""Convolutions that compute only what a change reaches equal those that compute everything."""

import pytest
import torch
from torch import nn

from modules.backbones import Timm
from modules.insight import changes
from modules.insight.changes import changed, only_changes


@pytest.mark.parametrize(
    ("size", "stride", "padding", "dilation", "groups", "channels"),
    [
        (3, 1, 1, 1, 1, 16),
        (7, 2, 3, 1, 1, 3),
        (3, 2, 1, 1, 4, 8),
        ((3, 5), (1, 2), (0, 2), (2, 1), 1, 32),
        (1, 2, 0, 1, 1, 16),
        (2, 2, 0, 1, 1, 5),
    ],
)
def test_outputs_equal_those_of_all(size, stride, padding, dilation, groups, channels, monkeypatch):
    monkeypatch.setattr(changes, "LARGE", 1.1)
    layer = nn.Conv2d(channels, 8, size, stride, padding, dilation, groups).requires_grad_(False)
    before = torch.randn(1, channels, 21, 26).contiguous(memory_format=torch.channels_last)
    image = before.expand(6, -1, -1, -1).clone(memory_format=torch.channels_last)
    for one, (top, left) in zip(image, [(0, 0), (17, 22), (9, 3), (5, 25), (20, 1)], strict=False):
        one[:, top : top + 4, left : left + 4] = 0  # the last stays as it was
    found = changed(layer, image, before, layer(before))
    assert found is not None and torch.allclose(found, layer(image), atol=1e-6)


def test_a_network_computes_large_changes_as_ever_and_ends_as_it_was():
    backbone = Timm("resnet18").eval()
    image = torch.randn(1, 3, 64, 64)
    covered = image.repeat(3, 1, 1, 1)
    covered[0, :, :16, :16], covered[1, :, 30:60, 40:50], covered[2] = 0, 0, 1
    with torch.no_grad():
        expected = backbone(covered)
        with only_changes(backbone, lambda: backbone(image)[-1]) as first:
            found = [backbone(one[None]) for one in covered]
        assert torch.equal(first, backbone(image)[-1])
    for level, one in enumerate(expected):
        assert torch.allclose(torch.cat([maps[level] for maps in found]), one, atol=1e-4)
    assert not any("forward" in vars(layer) for layer in backbone.modules())
