"""Wide ResNet, SqueezeNet, DenseNet-264, MobileNet and ShuffleNet v1, EffNet, HarDNet, ViT with a convolutional stem.

As large as published, and equal to what libraries have of them.
"""

from functools import partial

import pytest
import timm
import torch
import torchvision
from timm.layers import BatchNormAct2d, DropPath, LayerNorm2d, SEModule, create_conv2d
from timm.models.resnetv2 import DownsampleConv, PreActBasic
from torch import nn
from torch.nn import functional
from torchvision.models.vision_transformer import ConvStemConfig, VisionTransformer

from modules.backbones import Timm
from modules.backbones.classics.blocks import Residual
from modules.backbones.classics.plugins import PLUGINS, HarDBlock, Maxout, ShuffleUnit, plugin, sources
from modules.backbones.classics.squeezenet import BypassedFire
from modules.backbones.classics.wide_resnet import WideBlock
from modules.contracts import ConfigError
from tests.helpers.errors import refuses

PARAMETERS = {
    "wide_resnet28_10": 36_479_194,
    "wide_resnet40_4": 8_949_210,
    "wide_resnet22_8": 17_158_106,
    "wide_resnet16_8": 10_961_370,
    "wide_resnet16_4": 2_748_890,
    "squeezenet_bypass": 1_248_424,  # as torchvision's without bypass
    "densenet264": 33_337_704,
    "mobilenetv1": 4_231_976,
    "mobilenetv1_075": 2_585_560,
    "mobilenetv1_050": 1_331_592,
    "mobilenetv1_025": 470_072,
    "shufflenetv1_g1": 1_531_936,
    "shufflenetv1_g2": 1_733_848,
    "shufflenetv1_g3": 1_865_728,
    "shufflenetv1_g4": 1_968_344,
    "shufflenetv1_g8": 2_434_768,
    "effnet": 151_146,
    "hardnet39ds": 3_488_228,
    "hardnet68ds": 4_180_602,
    "hardnet68": 17_565_348,
    "hardnet85": 36_670_212,
}
MILLIONS = {
    "shufflenetv1_g3_050": "0.719",
    "shufflenetv1_g3_150": "3.442",
    "shufflenetv1_g3_200": "5.448",
    "vitc_1gf": "4.6",
    "vitc_4gf": "17.8",
    "vitc_18gf": "81.6",
    "vitc_36gf": "167.8",
}
MAPS = {
    "wide_resnet16_4": ([64, 128, 256], [1, 2, 4]),
    "mobilenetv1_025": ([16, 32, 64, 128, 256], [2, 4, 8, 16, 32]),
    "shufflenetv1_g2": ([24, 24, 200, 400, 800], [2, 4, 8, 16, 32]),
    "shufflenetv1_g8": ([24, 24, 384, 768, 1536], [2, 4, 8, 16, 32]),
    "effnet": ([64, 128, 256], [2, 4, 8]),
    "hardnet39ds": ([48, 96, 320, 640, 1024], [2, 4, 8, 16, 32]),
    "vitc_1gf": ([192], [16]),
}
LIGHT = [
    "squeezenet_bypass",
    "squeezenet_complex_bypass",
    *MAPS,
]


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def copied(into: nn.Module, source: nn.Module) -> nn.Module:
    """`into` with the tensors of `source`, which come in the same order and shapes under other names."""
    tensors = source.state_dict().values()
    into.load_state_dict(dict(zip(into.state_dict(), tensors, strict=True)))
    return into.eval()


def shaken(module: nn.Module) -> nn.Module:
    """Norms and biases are not 1 and 0, so that none can be missed."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim == 1:
            nn.init.uniform_(tensor, 0.5, 1.5)
    return module.eval()


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_with_the_published_classes(name):
    with torch.device("meta"):
        assert parameters(timm.create_model(name)) == PARAMETERS[name]


@pytest.mark.parametrize("name", MILLIONS)
def test_millions_of_parameters_with_the_published_classes(name):
    digits = len(MILLIONS[name].partition(".")[2])
    with torch.device("meta"):
        assert f"{parameters(timm.create_model(name)) / 1e6:.{digits}f}" == MILLIONS[name]


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
def test_maps_have_the_announced_channels_and_strides(name, size):
    backbone = Timm(name).eval()
    assert backbone.features == MAPS[name]
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, *size))
    expected = [(1, c, size[0] // s, size[1] // s) for c, s in zip(*backbone.features, strict=True)]
    assert [tuple(m.shape) for m in maps] == expected


@pytest.mark.parametrize("side", [64, 97])
def test_squeezenets_maps_are_as_large_as_torchvisions(side):
    backbone, reference = Timm("squeezenet_bypass").eval(), torchvision.models.squeezenet1_0().eval().features
    image = torch.rand(1, 3, side, side)
    sizes = [reference[:end](image).shape[1:] for end in (2, 6, 11, 13)]
    assert [m.shape[1:] for m in backbone(image)] == sizes
    assert backbone.features == ([size[0] for size in sizes], [2, 4, 8, 16])


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("squeezenet_bypass", [1, 1, 2, 4]),
        ("mobilenetv1_025", [1, 2, 4, 8, 16]),
        ("shufflenetv1_g2", [1, 1, 2, 4, 8]),
        ("hardnet39ds", [1, 2, 4, 8, 16]),
        ("hardnet68", [1, 1, 2, 4, 8]),
    ],
)
def test_small_images_shrink_every_stride(name, strides):
    backbone = Timm(name, small_images=True).eval()
    assert backbone.features.strides == strides
    with torch.no_grad():
        assert [m.shape[-1] for m in backbone(torch.rand(1, 3, 32, 32))] == [32 // stride for stride in strides]


def test_squeezenet_says_which_image_is_too_small():
    net = timm.create_model("squeezenet_bypass", num_classes=3)
    assert net(torch.rand(1, 3, 21, 21)).shape == (1, 3)
    with refuses(ConfigError, "squeezenet_bypass", 21, "20 x 30", "--data.image_size"):
        net(torch.rand(1, 3, 20, 30))


@pytest.mark.parametrize("name", LIGHT)
def test_gradients_reach_every_parameter(name):
    net = timm.create_model(name, num_classes=4)
    functional.cross_entropy(net(torch.randn(2, 3, 64, 64)), torch.tensor([0, 3])).backward()
    assert not [key for key, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


def test_squeezenet_without_bypass_is_torchvisions():
    reference = torchvision.models.squeezenet1_0(num_classes=7)
    net = copied(timm.create_model("squeezenet_bypass", bypass="none", num_classes=7), reference)
    image = torch.randn(2, 3, 80, 70)
    torch.testing.assert_close(net(image), reference.eval()(image))


def test_a_bypass_adds_what_goes_into_a_fire_module():
    x = torch.randn(1, 16, 5, 5)
    for outputs, bypass in ((16, nn.Identity()), (32, nn.Conv2d(16, 32, 1))):
        block = BypassedFire(16, outputs)
        block.bypass.load_state_dict(bypass.state_dict())
        torch.testing.assert_close(block(x) - bypass(x), super(BypassedFire, block).forward(x))


def test_bypasses_are_where_the_paper_has_them():
    def bypasses(kind: str) -> list[type | None]:
        net = timm.create_model("squeezenet_bypass", bypass=kind)
        fires = [m for stage in net.stages for m in stage if hasattr(m, "squeeze")]
        return [type(getattr(fire, "bypass", None)) for fire in fires]

    none, same, conv = type(None), nn.Identity, nn.Conv2d
    assert bypasses("simple") == [none, same] * 4
    assert bypasses("complex") == [conv, same] * 4


def test_densenet264_has_the_tensors_and_outputs_of_torchvisions_parts():
    net = timm.create_model("densenet264", num_classes=5).eval()
    reference = torchvision.models.DenseNet(32, (6, 12, 64, 48), 64, num_classes=5).eval()
    reference.load_state_dict(net.state_dict())
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(image), reference(image))


@pytest.mark.parametrize(("name", "width"), [("mobilenetv1_100", 1.0), ("mobilenetv1_125", 1.25)])
def test_mobilenetv1_is_timms(name, width):
    reference = timm.create_model(name, num_classes=6)
    net = copied(timm.create_model("mobilenetv1", width=width, num_classes=6), reference)
    image = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(net(image), reference.eval()(image))


@pytest.mark.parametrize(("resolution", "side"), [(1.0, 224), (6 / 7, 192), (5 / 7, 160), (4 / 7, 128), (0.01, 32)])
def test_the_resolution_of_mobilenetv1_says_which_images_it_is_for(resolution, side):
    net = timm.create_model("mobilenetv1", width=0.1, resolution=resolution)
    assert net.pretrained_cfg["input_size"] == (3, side, side)
    assert net.feature_info[-1]["num_chs"] == 102


@pytest.mark.parametrize(("name", "deep"), [("vitc_1gf", False), ("vitc_18gf", True)])
def test_a_vit_with_a_convolutional_stem_is_torchvisions(name, deep):
    width, depth, heads, ratio = (768, 1, 12, 4) if deep else (192, 11, 3, 3)
    stem = (64, 128, 128, 256, 256, 512) if deep else (24, 48, 96, 192)
    strides = (2, 2, 1, 2, 1, 2) if deep else (2, 2, 2, 2)
    convolutions = [ConvStemConfig(*layer) for layer in zip(stem, [3] * len(stem), strides, strict=True)]
    reference = VisionTransformer(
        64, 16, depth, heads, width, ratio * width, num_classes=5, conv_stem_configs=convolutions
    )
    net = timm.create_model(name, num_classes=5, depth=depth, img_size=64)
    assert parameters(net) == parameters(reference)
    nn.init.normal_(reference.heads.head.weight)  # torchvision's starts at 0
    tensors = shaken(reference).state_dict()
    position = tensors.pop("encoder.pos_embedding")
    first, *rest = tensors.values()  # but for the position both have them in the same order
    net.load_state_dict(dict(zip(net.state_dict(), [first, position, *rest], strict=True)))
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(image), reference(image), atol=1e-4, rtol=1e-4)


def test_a_vit_with_a_convolutional_stem_fills_images_up_to_whole_cells():
    backbone, image = Timm("vitc_1gf").eval(), torch.rand(1, 3, 64, 50)
    (cells,) = backbone(image)
    assert cells.shape == (1, 192, 4, 4)
    torch.testing.assert_close(cells, backbone(functional.pad(image, (0, 14)))[0])


@pytest.mark.parametrize(("inputs", "stride"), [(8, 1), (8, 2), (4, 1)])
def test_a_wide_block_is_timms_pre_activation_block(inputs, stride):
    conv = partial(create_conv2d, bias=False)
    reference = PreActBasic(
        inputs, 8, stride=stride, conv_layer=conv, norm_layer=BatchNormAct2d, proj_layer=DownsampleConv
    )
    block = shaken(WideBlock(inputs, 8, stride, dropout=0.3))
    names = {
        "before.0": "norm1",
        "branch.0": "conv1",
        "branch.1": "norm2",
        "branch.4": "conv2",
        "shortcut": "downsample.conv",
    }
    parts = [(*key.rpartition("."), tensor) for key, tensor in block.state_dict().items()]
    reference.load_state_dict({f"{names[part]}.{name}": tensor for part, _, name, tensor in parts})
    x = torch.randn(2, inputs, 9, 9)
    torch.testing.assert_close(block(x), reference.eval()(x))


def test_dropout_of_a_wide_block_lies_between_its_convolutions():
    block = WideBlock(6, 6, dropout=1.0)
    x, seen = torch.randn(2, 6, 5, 5), []
    block.branch[0].register_forward_hook(lambda *parts: seen.append(parts[2]))
    assert torch.equal(block(x), x)  # nothing reaches the second convolution, which has no bias
    assert seen[0].abs().sum() > 0


@pytest.mark.parametrize("name", ["se", "eca", "cbam", "ghost"])
def test_branches_of_residual_blocks_end_in_the_attention_layer_asked_for(name):
    net = timm.create_model("wide_resnet", depth=10, width=2, block_args={"attn_layer": name})
    layers = [m.branch[-1] for m in net.modules() if isinstance(m, Residual)]
    assert [type(layer) for layer in layers] == [type(plugin(name, 32))] * 3
    net(torch.randn(2, 3, 16, 16)).sum().backward()
    assert all(p.grad is not None for layer in layers for p in layer.parameters())


@pytest.mark.parametrize("name", ["lenet5", "mobilenetv1_025", "squeezenet_bypass", "hardnet39ds"])
def test_stages_of_other_networks_end_in_it(name):
    plain, net = (
        timm.create_model(name, num_classes=0),
        timm.create_model(name, num_classes=0, block_args={"attn_layer": "se"}),
    )
    image = torch.randn(2, net.pretrained_cfg["input_size"][0], 64, 64)
    new = [stage[-1] for stage in net.stages]
    assert {type(layer) for layer in new} == {SEModule}
    assert parameters(net) == parameters(plain) + sum(map(parameters, new))
    assert plain.state_dict().keys() <= net.state_dict().keys()
    for layer in new:
        nn.init.constant_(layer.fc2.bias, 100.0)  # gates open
    net.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(net.eval()(image), plain.eval()(image))


def test_resnet50_v1_with_squeeze_and_excitation_has_the_parameters_of_timms():
    with torch.device("meta"):
        ours = timm.create_model("resnet50_v1", block_args={"attn_layer": "se"})
        assert parameters(ours) == parameters(timm.create_model("legacy_seresnet50")) == 28_088_024


def test_networks_of_timms_classes_say_that_they_take_no_attention():
    for name in ("densenet264", "vitc_1gf"):
        with refuses(ConfigError, name, "attention"):
            timm.create_model(name, block_args={"attn_layer": "se"})


@pytest.mark.parametrize("channels", [16, 24, 50])
@pytest.mark.parametrize("name", [*PLUGINS, "se", "eca", "cbam", "sk", "splat"])
def test_a_plugin_keeps_the_shape_of_a_map_and_learns(name, channels):
    block, x = plugin(name, channels), torch.randn(2, channels, 7, 6, requires_grad=True)
    y = block(x)
    assert y.shape == x.shape
    y.square().sum().backward()
    assert x.grad.abs().sum() > 0
    assert not [key for key, p in block.named_parameters() if p.grad is None]


def test_the_kernel_of_eca_follows_from_the_channels():
    assert [plugin("eca", channels).conv.kernel_size for channels in (16, 64, 256, 1024)] == [(3,), (3,), (5,), (5,)]


def test_maxout_is_the_largest_of_its_pieces():
    x = torch.randn(2, 6, 3)
    expected = torch.stack([x[:, i : i + 3].max(1).values for i in (0, 3)], 1)
    assert torch.equal(Maxout(3)(x), expected)
    line = torch.linspace(-2, 2, 9)[:, None]
    assert torch.equal(Maxout(2)(torch.cat([line, -line], 1)), line.abs())  # learns any convex function


def test_the_residual_plugin_scales_its_branch():
    block, x = plugin("residual", 16).eval(), torch.randn(1, 16, 5, 5)
    torch.testing.assert_close(block(x), (x + 0.2 * block.branch(x)).relu())


def test_drop_path_of_a_wide_resnet_rises_with_depth():
    net = Timm("wide_resnet16_4", drop_path=0.3).net
    rates = [
        m.drop_path.drop_prob if isinstance(m.drop_path, DropPath) else 0
        for m in net.modules()
        if isinstance(m, WideBlock)
    ]
    assert rates == pytest.approx([0, 0.06, 0.12, 0.18, 0.24, 0.3])


@pytest.mark.parametrize("name", ["wide_resnet16_4", "mobilenetv1_025", "shufflenetv1_g2", "hardnet39ds", "effnet"])
def test_norm_and_activation_are_one_argument_each(name):
    net = timm.create_model(name, norm="layernorm2d", activation="silu", init="xavier", num_classes=3)
    kinds = {type(m) for m in net.modules()}
    assert {LayerNorm2d, nn.SiLU} <= kinds
    assert not kinds & {nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.LeakyReLU}
    assert net(torch.randn(1, 3, 32, 32)).shape == (1, 3)


def test_the_activation_of_a_squeezenet_is_one_argument():
    net = timm.create_model("squeezenet_bypass", activation="silu", num_classes=3)
    assert not [name for name, layer in net.named_modules() if isinstance(layer, nn.ReLU)]
    assert sum(isinstance(layer, nn.SiLU) for layer in net.modules()) == 1 + 3 * 8 + 1


@pytest.mark.parametrize(("name", "norm"), [("densenet264", "groupnorm1"), ("vitc_1gf", "rmsnorm")])
def test_networks_of_timms_classes_take_timms_names_of_them(name, norm):
    with torch.device("meta"):
        net = timm.create_model(name, act_layer="silu", norm_layer=norm, num_classes=3)
    kinds = {type(layer).__name__.lower() for layer in net.modules()}
    assert "silu" in kinds and kinds & {norm, f"{norm}act"}


def test_a_shuffle_lets_every_group_see_all_channels():
    unit, x = ShuffleUnit(72, 72, groups=3).eval(), torch.randn(1, 72, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(unit.branch(x)[:, 0].sum(), x)
    assert (gradient.abs().sum((0, 2, 3)) > 0).all()
    unit.branch[1] = nn.Identity()
    (gradient,) = torch.autograd.grad(unit.branch(x)[:, 0].sum(), x)
    assert ((gradient.abs().sum((0, 2, 3)) > 0) == (torch.arange(72) < 24)).all()


def test_a_shuffle_unit_with_stride_puts_what_is_new_beside_the_average():
    unit, x = ShuffleUnit(8, 24, groups=2, stride=2).eval(), torch.randn(2, 8, 6, 10)
    old, new = unit(x).split([8, 16], 1)
    torch.testing.assert_close(old, functional.avg_pool2d(x, 3, 2, 1).relu())
    torch.testing.assert_close(new, unit.branch(x).relu())


def test_layers_of_a_hard_block_see_those_before_them_by_powers_of_two():
    seen = {1: [0], 2: [1, 0], 3: [2], 4: [3, 2, 0], 5: [4], 6: [5, 4], 7: [6], 8: [7, 6, 4, 0]}
    assert {layer: sources(layer) for layer in seen} == seen


def test_a_hard_block_widens_harmonically_and_keeps_its_odd_layers():
    block = HarDBlock(10, 14, 1.7, 8, layer=lambda inputs, outputs: nn.Conv2d(inputs, outputs, 1))
    assert [layer.out_channels for layer in block.layers] == [14, 24, 14, 40, 14, 24, 14, 68]
    assert [layer.in_channels for layer in block.layers] == [10, 24, 24, 48, 40, 54, 24, 88]
    x = torch.randn(2, 10, 3, 3)
    one, two, three, four, five, six, seven, eight = block.layers
    a = one(x)
    b = two(torch.cat([a, x], 1))
    c = three(b)
    d = four(torch.cat([c, b, x], 1))
    e = five(d)
    g = seven(six(torch.cat([e, d], 1)))
    h = eight(torch.cat([g, six(torch.cat([e, d], 1)), d, x], 1))
    torch.testing.assert_close(block(x), torch.cat([a, c, e, g, h], 1))
    assert block.channels == 4 * 14 + 68


def test_effnet_pools_one_direction_at_a_time():
    x, sizes = torch.randn(1, 3, 8, 12), []
    for layer in timm.create_model("effnet").eval().stages[0]:
        x = layer(x)
        sizes.append(tuple(x.shape[2:]))
    assert sizes == [(8, 12), (8, 12), (4, 12), (4, 12), (5, 12), (4, 6)]


@pytest.mark.parametrize(
    ("name", "options", "names"),
    [
        ("wide_resnet", {"depth": 27}, ("depth", 27, 28)),
        ("wide_resnet", {"depth": 4}, ("depth", 4, 10)),
        ("shufflenetv1", {"groups": 5}, ("shufflenetv1", "groups", 5, 8)),
        ("shufflenetv1", {"width": 0}, ("shufflenetv1", "width", 0)),
        ("mobilenetv1", {"width": -1.0}, ("mobilenetv1", "width", -1)),
        ("hardnet", {"variant": "69"}, ("69", "39ds", "68ds")),
        ("lenet5", {"block_args": {"attn_layer": "sse"}}, ("sse", "fire")),
        ("hardnet68", {"pretrained": True}, ("hardnet68", "--model.weights")),
        ("densenet264", {"pretrained": True}, ("densenet264", "--model.weights")),
    ],
)
def test_what_a_network_cannot_be_is_said(name, options, names):
    with refuses(ConfigError, *names):
        timm.create_model(name, **options)
