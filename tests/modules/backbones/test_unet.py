"""The original U-Net: the size of its paper, and an encoder like any other backbone."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from modules.backbones import UNetEncoder
from modules.contracts import ConfigError, Features
from modules.heads import UNet
from modules.training.parameter_groups import parameter_groups
from modules.training.transfer import describe, export_backbone, load_backbone, read_weights
from tests.helpers.errors import assert_named, refuses

SMALL = (4, 8, 16)


def original(channels: int = 1, outputs: int = 2, width: int = 64) -> tuple[UNetEncoder, UNet]:
    """The network of Ronneberger et al. (2015), with padded convolutions."""
    widths = [width * 2**i for i in range(5)]
    encoder = UNetEncoder(in_channels=channels, channels=tuple(widths), norm=False)
    head = UNet(
        encoder.features, outputs, channels=widths[-2::-1], upsampling="transposed", norm=False, kernel=1, dropout=0.0
    )
    return encoder, head


def test_it_has_as_many_parameters_as_published():
    assert sum(p.numel() for part in original() for p in part.parameters()) == 31_030_658


def test_it_computes_what_its_figure_shows():
    encoder, head = original(width=4)
    image = torch.randn(1, 1, 32, 48)
    weights = [p for part in (encoder, head) for p in part.parameters()]

    def convolve(x, count=2):
        for _ in range(count):
            x = functional.conv2d(x, weights.pop(0), weights.pop(0), padding=1).relu()
        return x

    maps = [convolve(image)]
    for _ in range(4):
        maps.append(convolve(functional.max_pool2d(maps[-1], 2)))
    x = maps.pop()
    while maps:
        x = functional.conv_transpose2d(x, weights.pop(0), weights.pop(0), stride=2)
        x = convolve(torch.cat([x, maps.pop()], 1))
    expected = functional.conv2d(x, weights.pop(0), weights.pop(0))
    torch.testing.assert_close(head(encoder(image)), expected)
    assert not weights


@pytest.mark.parametrize("size", [(37, 53), (16, 16)])
@pytest.mark.parametrize("norm", [True, False])
def test_logits_have_the_size_of_any_image(size, norm):
    encoder = UNetEncoder(channels=(4, 8, 16, 16, 16), norm=norm)
    for upsampling in ("resize", "transposed"):
        head = UNet(encoder.features, 3, upsampling=upsampling, norm=norm)
        assert head(encoder(torch.randn(2, 3, *size))).shape == (2, 3, *size)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_maps_have_the_announced_channels_and_strides(channels):
    encoder = UNetEncoder(in_channels=channels)
    assert encoder.features == Features([64, 128, 256, 512, 1024], [1, 2, 4, 8, 16])
    maps = encoder(torch.randn(1, channels, 32, 48))
    assert [tuple(m.shape) for m in maps] == [(1, c, 32 // s, 48 // s) for c, s in zip(*encoder.features, strict=True)]


def test_images_become_numbers_around_zero():
    image = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    assert UNetEncoder(in_channels=1, channels=SMALL).normalize(image).flatten().tolist() == [-2.0, 2.0]


def test_an_exported_encoder_loads_into_another_one(tmp_path: Path):
    ours, other = UNetEncoder(channels=SMALL), UNetEncoder(channels=SMALL)
    nn.init.uniform_(ours.net[0][0][1].running_mean)
    export_backbone(ours, tmp_path / "backbone.safetensors", epoch=3)
    assert read_weights(str(tmp_path)).about == {**describe(ours), "epoch": 3}
    assert_named(load_backbone(other, str(tmp_path)), 3)
    torch.testing.assert_close(other.net.state_dict(), ours.net.state_dict())


def test_weights_for_color_fit_gray_images_with_the_filters_summed(tmp_path: Path):
    color, gray = UNetEncoder(channels=SMALL), UNetEncoder(in_channels=1, channels=SMALL)
    export_backbone(color, tmp_path / "backbone.safetensors")
    load_backbone(gray, str(tmp_path))
    torch.testing.assert_close(gray.net[0][0][0].weight, color.net[0][0][0].weight.sum(1, keepdim=True))


def test_weights_of_other_widths_are_refused(tmp_path: Path):
    export_backbone(UNetEncoder(channels=SMALL), tmp_path / "backbone.safetensors")
    with refuses(ConfigError, "UNetEncoder", "0.0.0.weight", "4x3x3x3", "8x3x3x3"):
        load_backbone(UNetEncoder(channels=(8, 16, 32)), str(tmp_path))


def test_layer_decay_grades_its_convolutions():
    encoder = UNetEncoder(channels=SMALL)
    scales = {id(p): g["lr_scale"] for g in parameter_groups(encoder, encoder.net, 0.5) for p in g["params"]}
    graded = [scales[id(block[0].weight)] for stage in encoder.net for block in stage]
    assert graded == [0.5**i for i in (6, 5, 4, 3, 2, 1)]


def test_an_encoder_without_stages_is_refused():
    with refuses(ConfigError, "backbone.channels", "UNetEncoder"):
        UNetEncoder(channels=())
