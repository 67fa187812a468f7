"""timm's networks with attention layers, at other sizes than they were made for, and what they do not take."""

from typing import get_args

import pytest
import timm
import torch
from timm.layers import EcaModule
from timm.layers.cbam import CbamModule

from modules.backbones import Timm
from modules.backbones.classics.plugins import PLUGINS
from modules.backbones.size import blank, fixed, published, smallest, takes
from modules.backbones.timm import Attention, Block
from modules.contracts import ConfigError
from tests.helpers.errors import refuses


def shapes(name: str, height: int, width: int, **options) -> list[tuple[int, ...]]:
    with torch.device("meta"):
        backbone = Timm(name, **options).eval()
        return [tuple(m.shape[1:]) for m in backbone(torch.empty(1, 3, height, width))]


@pytest.mark.parametrize(("attention", "layer"), [("cbam", CbamModule), ("eca", EcaModule)])
def test_attention_goes_into_every_residual_block(attention, layer):
    backbone = Timm("resnet18", attention=attention)
    assert sum(isinstance(module, layer) for module in backbone.modules()) == 8
    theirs = timm.create_model("resnet18", num_classes=0, block_args={"attn_layer": attention})
    theirs.load_state_dict(backbone.net.state_dict())
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(backbone.eval()(image)[-1], theirs.eval().forward_features(image))


@pytest.mark.parametrize("name", ["resnet18", "resnet18_a", "lenet5", "wide_resnet16_4"])
@pytest.mark.parametrize("attention", [*get_args(Attention), *get_args(Block)])
def test_every_layer_and_block_is_one_argument_of_a_network(name, attention):
    backbone = Timm(name, attention=attention)
    maps = backbone(torch.rand(2, 3, 48, 48))
    sum(m.square().mean() for m in [*maps, backbone.pool(maps)]).backward()
    assert backbone.net.state_dict().keys() > Timm(name).net.state_dict().keys()
    assert all(p.grad is not None for p in backbone.net.parameters() if p.requires_grad)


def test_every_block_is_named():
    assert set(get_args(Block)) == PLUGINS.keys()


@pytest.mark.parametrize("name", ["vgg11", "efficientnet_b0", "convnext_atto", "resnest14d"])
def test_families_without_a_place_for_attention_say_so(name):
    with refuses(ConfigError, name, "attention", "resnet50"):
        Timm(name, attention="cbam")


@pytest.mark.parametrize(
    "name",
    ["swin_tiny_patch4_window7_224", "deit_tiny_patch16_224", "vitamin_small_224", "vit_small_r26_s32_224"],
)
def test_transformers_for_one_size_take_any(name):
    channels, strides = Timm(name).features
    wanted = [(c, -(-104 // s), -(-72 // s)) for c, s in zip(channels, strides, strict=True)]
    assert shapes(name, 104, 72) == wanted


def test_patches_of_14_pixels_take_images_that_14_does_not_divide():
    assert shapes("eva02_tiny_patch14_224", 96, 64) == [(192, 7, 5)]


@pytest.mark.parametrize("name", ["hiera_tiny_224", "hieradet_small"])
def test_networks_whose_maps_timm_cannot_normalize_give_them_as_they_are(name):
    assert shapes(name, 224, 224) == [(96, 56, 56), (192, 28, 28), (384, 14, 14), (768, 7, 7)]


def test_the_stride_that_timm_misstates_is_put_right():
    assert Timm("tresnet_m").features == ([64, 128, 1024, 2048], [4, 8, 16, 32])
    assert shapes("tresnet_m", 64, 96) == [(64, 16, 24), (128, 8, 12), (1024, 4, 6), (2048, 2, 3)]


@pytest.mark.parametrize(
    ("name", "last"), [("maxvit_pico_rw_256", (256, 3, 4)), ("beit_base_patch16_224", (768, 6, 8))]
)
def test_networks_for_one_size_are_built_for_another(name, last):
    assert shapes(name, 96, 128, image_size=(96, 128))[-1] == last


def test_a_network_without_a_size_is_not_built_for_one():
    with refuses(ConfigError, "resnet18", "image_size"):
        Timm("resnet18", image_size=96)


def test_pretrained_weights_are_fetched_for_the_size_that_was_built(monkeypatch):
    backbone, asked = Timm("test_vit", image_size=96), []
    net = timm.create_model("test_vit", num_classes=0)
    monkeypatch.setattr(timm, "create_model", lambda name, **options: asked.append(options) or net)
    backbone.pretrained()
    assert asked == [{"pretrained": True, "img_size": 96}]


@pytest.mark.parametrize(
    ("name", "side", "names"),
    [
        ("inception_v3", 64, (75, "--data.image_size")),
        ("maxvit_pico_rw_256", 96, ("256 x 256", "--data.image_size 256", "--model.backbone.image_size")),
    ],
)
def test_images_that_are_not_taken_are_answered_with_those_that_are(name, side, names):
    with refuses(ConfigError, name, f"{side} x {side}", *names):
        Timm(name).eval()(torch.rand(1, 3, side, side))


def test_a_fault_that_is_not_of_the_size_stays_what_it_is(monkeypatch):
    backbone = Timm("test_resnet").eval()

    def fail(*args, **kwargs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(backbone.net, "forward_intermediates", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        backbone(torch.rand(1, 3, 64, 64))


def test_the_smallest_image_is_the_smallest():
    empty = blank(Timm("inception_v3"))
    assert smallest(empty) == 75 and takes(empty, 75, 75) and not takes(empty, 74, 75)
    assert published(empty) == (299, 299) and not fixed(empty)
