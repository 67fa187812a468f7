"""The ancestors are the networks of their papers: their parameters, their maps, their relatives in the libraries."""

from functools import partial

import pytest
import timm
import torch
import torchvision
from timm.layers import BatchNormAct2d
from timm.models.inception_resnet_v2 import Block8
from timm.models.vgg import VGG
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.googlenet import Inception

from modules.backbones import Timm, by_name
from modules.backbones.classics.alexnet import alexnet
from modules.backbones.classics.blocks import Residual, activation_layer, convolution, initialize
from modules.backbones.classics.inception import _inception, _naive
from modules.backbones.classics.vgg import deepen, vgg16_c
from modules.contracts import Backbone, ConfigError
from modules.training.transfer import export_backbone, load_backbone
from tests.helpers.errors import assert_named, refuses

PUBLISHED = {
    "lenet5": 61_706,
    "alexnet_towers": 60_965_224,
    "alexnet_half": 16_630_440,
    "alexnet_half_pool3": 8_241_832,
    "vgg16_c": 133_638_952,
    "inception_v1": 6_998_552,
    "bn_inception": 11_285_224,
    "inception_resnet_v1": 22_756_328,
    "resnet50_v1": 25_557_032,
    "resnet101_v1": 44_549_160,
    "resnet152_v1": 60_192_808,
    "resnet34_a": 21_797_672 - 173_824,  # timm's less its three projections
    "resnet18_a": 11_689_512 - 173_824,
    "plain34": 21_797_672 - 173_824,
    "plain18": 11_689_512 - 173_824,
    "resnet34_c": 21_797_672 + 3 * 4224 + 3 * 16_640 + 5 * 66_048 + 2 * 263_168,  # and one past every other block
}
NARROW = ((4, 4), (8, 8), (8, 8, 8), (8, 8, 8), (8, 8, 8))  # VGG-16
UNPADDED = ["lenet5", "alexnet_towers", "alexnet_half", "alexnet_half_pool3", "inception_resnet_v1"]
SHAPES = [*UNPADDED, "vgg16_c", "inception_v1", "bn_inception", "resnet50_v1", "resnet18_a", "plain18"]
SMALL = ["lenet5", "alexnet_half", "inception_v1", "bn_inception", "resnet18_a", "resnet34_c", "plain18"]


def on_meta(name: str, **options) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name, **options)


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def make_image(side: int = 64, channels: int = 3, batch: int = 2) -> Tensor:
    return torch.rand(batch, channels, side, side)


def stirred(net: nn.Module) -> nn.Module:
    """Evaluated with running statistics and biases of its own, so that no copy is equal by chance."""
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point() and not name.endswith("weight"):
            tensor.add_(torch.rand_like(tensor) * 0.1)
    return net.eval()


def copy(source: nn.Module, target: nn.Module) -> nn.Module:
    """The tensors of `source` into `target`, both of which have them in the same order."""
    pairs = zip(target.state_dict().items(), source.state_dict().values(), strict=True)
    target.load_state_dict({name: theirs.reshape(own.shape) for (name, own), theirs in pairs})
    return target.eval()


def assert_same(ours: nn.Module, theirs: nn.Module, image: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image), atol=1e-4, rtol=1e-4)


# As published --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_it_has_the_published_number_of_parameters(name, parameters):
    assert count(on_meta(name)) == parameters


def test_googlenet_has_its_auxiliary_classifiers_too():
    assert count(on_meta("inception_v1", auxiliary=True)) == 13_378_280


def test_naive_modules_have_no_1x1_before_their_convolutions_and_widen_the_map_each_time():
    net = on_meta("inception_v1", naive=True)
    assert count(net) == 97_526_008
    kernels = [m.kernel_size for m in net.stages[2][1].modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [(1, 1), (3, 3), (5, 5)]
    layer = partial(convolution, norm="none")
    block, x = _naive(layer, 4, 3, 9, 2, 9, 5, 9), torch.rand(1, 4, 6, 6)
    y = block(x)
    assert y.shape == (1, 3 + 2 + 5 + 4, 6, 6)
    assert torch.equal(y[:, -4:], nn.functional.max_pool2d(x, 3, 1, 1))


@pytest.mark.parametrize(("name", "billions"), [("resnet50_v1", 3.858), ("resnet101_v1", 7.570)])
def test_the_stride_in_the_1x1_saves_the_published_work(name, billions):
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        on_meta(name)(torch.rand(1, 3, 224, 224))
    assert counter.get_total_flops() / 2e9 == pytest.approx(billions, abs=5e-4)


@pytest.mark.parametrize("name", SHAPES)
def test_maps_have_the_promised_channels_and_grow_with_their_strides(name):
    net = on_meta(name, num_classes=0)
    channels, side, _ = net.pretrained_cfg["input_size"]
    promised = [f["num_chs"] for f in net.feature_info], [f["reduction"] for f in net.feature_info]
    coarsest = promised[1][-1]
    maps, larger = (
        net.forward_intermediates(make_image(size, channels).to("meta"), intermediates_only=True)
        for size in (side, side + 2 * coarsest)
    )
    for small, large, width, stride in zip(maps, larger, *promised, strict=True):
        assert small.shape[1] == large.shape[1] == width
        assert large.shape[-1] - small.shape[-1] == 2 * coarsest // stride
        padded = name not in UNPADDED
        assert small.shape[-1] == side // stride if padded else side / stride - 8 < small.shape[-1] <= side / stride
    assert net.num_features == promised[0][-1]


@pytest.mark.parametrize("name", SHAPES)
def test_it_takes_its_smallest_images_and_names_them(name):
    net = on_meta(name, num_classes=0)
    smallest, channels = net.smallest, net.pretrained_cfg["input_size"][0]
    assert all(min(m.shape) > 0 for m in net.forward_intermediates(make_image(smallest, channels).to("meta"))[1])
    if smallest > 1:
        with refuses(ConfigError, name, smallest, "--data.image_size"):
            net(make_image(smallest - 1, channels).to("meta"))
        net._smallest = 1
        with pytest.raises(RuntimeError):
            net(make_image(smallest - 1, channels).to("meta"))


@pytest.mark.parametrize("name", ["inception_v1", "inception_resnet_v1", "resnet18_a"])
def test_small_images_take_away_the_stride_and_the_pool_of_the_stem(name):
    small, plain = by_name(name, small_images=True), on_meta(name, num_classes=0)
    assert small.features.strides == [max(1, s // 4) for s in dict.fromkeys(f["reduction"] for f in plain.feature_info)]
    side = small.net.smallest if name == "inception_resnet_v1" else 32
    assert [m.shape[1] for m in small.eval()(make_image(side))] == small.features.channels


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_of_a_backbone_learns(name):
    backbone = by_name(name)
    maps = backbone(make_image(96))
    sum(m.float().pow(2).mean() for m in [*maps, backbone.pool(maps)]).backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


# Relatives in the libraries, with the same weights -------------------------------------------------------------------


def test_alexnet_without_towers_and_normalization_is_torchvisions():
    theirs = stirred(torchvision.models.alexnet(num_classes=12))
    ours = copy(theirs, alexnet((64, 192, 384, 256, 256), hidden=4096, num_classes=12, norm="none"))
    assert_same(ours, theirs, make_image(224, batch=1))


def test_two_towers_see_half_of_the_map_each():
    net = timm.create_model("alexnet_towers", num_classes=0, norm="none").eval()
    image = make_image(96)
    before = net.stages[0](image)
    changed = before.clone()
    changed[:, 48:] += 1
    one, other = net.stages[1](before), net.stages[1](changed)
    torch.testing.assert_close(one[:, :128], other[:, :128])
    assert (one[:, 128:] - other[:, 128:]).abs().mean() > 1e-3


def test_responses_are_normalized_across_five_channels_as_the_paper_says():
    net = timm.create_model("alexnet_half", num_classes=0).eval()
    (unit, across), image = net.stages[0], 255 * make_image(63)
    with torch.no_grad():
        a, b = unit(image), across(unit(image))
    near = a[:, 8:13]  # channel 10 with its two neighbors at each side
    torch.testing.assert_close(b[:, 10], a[:, 10] / (2 + 1e-4 * near.pow(2).sum(1)) ** 0.75)


def test_configuration_c_is_d_with_kernels_that_are_zero_around_their_centers():
    ours = stirred(vgg16_c(num_classes=5, widths=NARROW, hidden=16))
    theirs = VGG([4, 4, "M", 8, 8, "M", *(8, 8, 8, "M") * 3], num_classes=5, mlp_ratio=1)
    theirs.pre_logits.fc1, theirs.pre_logits.fc2 = nn.Conv2d(8, 16, 7), nn.Conv2d(16, 16, 1)
    theirs.head.fc = nn.Linear(16, 5)
    for (name, tensor), own in zip(theirs.state_dict().items(), ours.state_dict().values(), strict=True):
        padded = own.ndim == 4 and tensor.shape[-1] == 3 and own.shape[-1] == 1
        tensor.copy_((nn.functional.pad(own, (1, 1, 1, 1)) if padded else own).reshape(tensor.shape)), name
    for side in (64, 224, 256):  # smaller than the head, as large, larger
        assert_same(ours, theirs.eval(), make_image(side, batch=1))


def test_resnet_v1_is_torchvisions_with_its_strides_moved():
    theirs = stirred(torchvision.models.resnet50(num_classes=9))
    for layer in (theirs.layer2, theirs.layer3, theirs.layer4):
        layer[0].conv1.stride, layer[0].conv2.stride = (2, 2), (1, 1)
    assert_same(copy(theirs, timm.create_model("resnet50_v1", num_classes=9)), theirs, make_image(96))


def test_option_c_with_projections_that_change_nothing_is_option_b():
    theirs = stirred(torchvision.models.resnet34(num_classes=9))
    ours = timm.create_model("resnet34_c", num_classes=9).eval()
    added = []
    for name, block in ours.named_modules():
        if isinstance(block, Residual) and block.shortcut[0].stride == (1, 1):
            conv, norm = block.shortcut
            nn.init.dirac_(conv.weight)
            nn.init.constant_(norm.weight, (1 + norm.eps) ** 0.5)
            added.append(f"{name}.shortcut.")
    shared = [key for key in ours.state_dict() if not key.startswith(tuple(added))]
    ours.load_state_dict(ours.state_dict() | dict(zip(shared, theirs.state_dict().values(), strict=True)))
    assert_same(ours, theirs, make_image(96))


def test_option_a_takes_every_second_pixel_and_pads_the_channels():
    block = timm.create_model("resnet18_a", num_classes=0).eval().stages[2][0]
    nn.init.zeros_(block.branch[1][1].weight)  # a branch that adds nothing
    x = torch.rand(2, 64, 8, 8)
    y = block(x)
    assert torch.equal(y[:, :64], x[..., ::2, ::2])
    assert not y[:, 64:].any()


def test_a_plain_block_is_the_branch_of_a_residual_one():
    residual = stirred(timm.create_model("resnet18_a", num_classes=0))
    plain = copy(residual, timm.create_model("plain18", num_classes=0))
    x = torch.randn(2, 64, 8, 8)
    torch.testing.assert_close(plain.stages[2][0](x), residual.stages[2][0].branch(x).relu())


@pytest.mark.parametrize(("name", "stride"), [("resnet50_v1", 8), ("resnet18_a", 16), ("resnet18_a", 8)])
def test_dilated_maps_hold_those_of_the_plain_network_in_between(name, stride):
    plain, dilated = Timm(name).eval(), Timm(name, output_stride=stride).eval()
    dilated.net.load_state_dict(plain.net.state_dict())
    image = make_image(96, batch=1)
    assert dilated.features.strides == [min(s, stride) for s in plain.features.strides]
    with torch.no_grad():
        for ours, theirs in zip(dilated(image), plain(image), strict=True):
            step = ours.shape[-1] // theirs.shape[-1]
            torch.testing.assert_close(ours[..., ::step, ::step], theirs, atol=1e-5 * theirs.abs().max(), rtol=1e-4)


def test_an_inception_block_with_its_5x5_kernels_empty_outside_is_torchvisions():
    class Plain(nn.Sequential):
        def __init__(self, inputs: int, outputs: int, **options):
            super().__init__(nn.Conv2d(inputs, outputs, **options), nn.ReLU())

    theirs = Inception(16, 8, 6, 12, 4, 8, 8, conv_block=Plain)
    ours = _inception(lambda *sizes: convolution(*sizes, norm="none"), 16, 8, 6, 12, 4, 8, 8)
    for (name, own), tensor in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        padded = own.ndim == 4 and own.shape[-1] == 5
        own.copy_(nn.functional.pad(tensor, (1, 1, 1, 1)) if padded else tensor), name
    assert_same(ours, theirs, torch.rand(2, 16, 14, 14))


def test_residual_blocks_of_inception_scale_as_timms():
    ours = timm.create_model("inception_resnet_v1", num_classes=0).stages[4][1]
    theirs = stirred(Block8(scale=0.2))
    widths = [(1792, 192), (1792, 192), (192, 192), (192, 192)]
    layers = (theirs.branch0, *theirs.branch1)
    for layer, (inputs, outputs) in zip(layers, widths, strict=True):
        layer.conv = nn.Conv2d(inputs, outputs, layer.conv.kernel_size, padding=layer.conv.padding, bias=False)
        layer.bn = BatchNormAct2d(outputs)
    theirs.conv2d = nn.Conv2d(384, 1792, 1)
    assert_same(copy(stirred(theirs), ours), theirs, torch.rand(2, 1792, 3, 3))


# A deep VGG from a shallower one -------------------------------------------------------------------------------------


def small_vgg(*depths: int, classes: int = 5) -> nn.Module:
    widths = (4, 8, 8, 12, 12)
    layers = [x for width, depth in zip(widths, depths, strict=True) for x in [*[width] * depth, "M"]]
    return VGG(layers, num_classes=classes, mlp_ratio=1 / 128)


def numbered(name: str, first: int = 0) -> Backbone:
    """A backbone whose tensors are each filled with a number of their own, which takes less time than drawing them."""
    with torch.device("meta"):
        backbone = by_name(name)
    backbone.to_empty(device="cpu")
    for number, tensor in enumerate(backbone.state_dict().values(), first):
        tensor.fill_(number)
    return backbone


def test_a_deeper_vgg_begins_with_the_first_four_convolutions_and_the_classifier_of_a_shallower_one():
    shallow, deep = small_vgg(1, 1, 2, 2, 2), small_vgg(2, 2, 3, 3, 3)
    before = {k: v.clone() for k, v in deep.state_dict().items()}
    filled = deepen(deep, shallow)
    assert filled == [*(f"features.{i}" for i in (0, 5, 10, 12)), "pre_logits.fc1", "pre_logits.fc2", "head.fc"]
    assert torch.equal(deep.features[5].weight, shallow.features[3].weight)
    assert torch.equal(deep.features[12].bias, shallow.features[8].bias)
    assert torch.equal(deep.head.fc.weight, shallow.head.fc.weight)
    rest = [k for k in before if k.rpartition(".")[0] not in filled]
    assert len(rest) == 2 * 9
    assert all(torch.equal(before[k], deep.state_dict()[k]) for k in rest)


def test_a_shallower_vgg_initializes_a_deeper_one_through_model_weights(tmp_path):
    path, shallow, deep = tmp_path / "shallow.safetensors", numbered("torchvision/vgg11", 100), numbered("vgg16_c")
    shallow.mean.fill_(0.4)
    export_backbone(shallow, path, epoch=3)
    places = [*(f"stages.{i}.0" for i in ("0.0", "1.1", "2.1", "2.2")), "head.0.0", "head.2.0"]
    before = {k: v.clone() for k, v in deep.net.state_dict().items()}
    said = load_backbone(deep, str(path))
    assert_named(said, *places, "vgg16_c", "torchvision/vgg11", path, 3)
    theirs = [layer for layer in shallow.net.features if isinstance(layer, nn.Conv2d)][:4]
    theirs += [layer for layer in shallow.net.classifier if isinstance(layer, nn.Linear)][:2]
    for place, layer in zip(places, theirs, strict=True):
        assert torch.equal(deep.net.get_submodule(place).weight.flatten(1), layer.weight.flatten(1))
    rest = [k for k in before if k.rpartition(".")[0] not in places]
    assert len(rest) == 2 * 9 and all(torch.equal(before[k], deep.net.state_dict()[k]) for k in rest)
    assert deep.mean.tolist() == shallow.mean.tolist()


def test_a_deeper_vgg_initializes_no_shallower_one(tmp_path):
    path = tmp_path / "deep.safetensors"
    export_backbone(numbered("vgg16_c"), path)
    with refuses(ConfigError, path, "torchvision/vgg11", "--model.backbone vgg16_c"):
        load_backbone(numbered("torchvision/vgg11"), str(path))


def test_norms_go_with_their_convolutions():
    assert deepen(on_meta("vgg16_bn", num_classes=0), on_meta("vgg11_bn", num_classes=0))[:4] == [
        "features.0",
        "features.1",
        "features.7",
        "features.8",
    ]


def test_only_vggs_can_be_deepened():
    with refuses(ConfigError, "conv1"):
        deepen(on_meta("vgg16_c"), on_meta("resnet18"))


# Fully convolutional test --------------------------------------------------------------------------------------------


def unpadded(net: nn.Module) -> nn.Module:
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            layer.padding = (0, 0)
    return net.eval()


@pytest.mark.parametrize(
    ("make", "side", "stride"),
    [
        pytest.param(lambda: timm.create_model("lenet5", in_chans=3).eval(), 32, 4, id="lenet5"),
        pytest.param(lambda: unpadded(alexnet((6, 8, 8, 8, 8), 12, num_classes=5)), 355, 32, id="alexnet"),
        pytest.param(lambda: unpadded(vgg16_c(num_classes=5, widths=NARROW, hidden=16)), 372, 32, id="vgg16_c"),
    ],
)
def test_without_padding_the_scores_of_each_place_are_those_of_the_crop_there(make, side, stride):
    net, image = make(), make_image(side + 2 * stride, batch=1)
    with torch.no_grad():
        scores = net.score_map(image)
        assert scores.shape[-2:] == (3, 3)
        for row in range(3):
            for column in range(3):
                crop = image[..., row * stride :, column * stride :][..., :side, :side]
                torch.testing.assert_close(scores[..., row, column], net(crop), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(net(image), scores.mean((-2, -1)))


@pytest.mark.parametrize("name", ["alexnet_half", "vgg16_c", "inception_v1"])
def test_at_its_own_size_the_dense_network_is_the_network(name):
    options = {"widths": ((4,), (8,), (8,), (8,), (8,)), "hidden": 16} if name == "vgg16_c" else {}
    net, image = timm.create_model(name, num_classes=7, **options).eval(), make_image(224, batch=1)
    with torch.no_grad():
        scores = net.score_map(image)
        assert scores.shape == (1, 7, *((7, 7) if name == "inception_v1" else (1, 1)))
        torch.testing.assert_close(scores.mean((-2, -1)), net(image))


# Activation, norm and initialization by one argument each ------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "lenet5"])
def test_activation_and_norm_are_one_argument_each(name):
    net = on_meta(name, num_classes=0, activation="silu", norm="groupnorm")
    kinds = {type(m).__name__ for m in net.modules()}
    assert {"SiLU", "GroupNorm"} <= kinds
    assert not {"ReLU", "BatchNorm2d", "LocalResponseNorm"} & kinds


def test_softsign_is_an_activation_of_our_networks():
    x = torch.linspace(-4, 4, 9)
    torch.testing.assert_close(activation_layer("softsign")(inplace=True)(x), x / (1 + x.abs()))
    layers = timm.create_model("lenet5", activation="softsign").modules()
    assert sum(isinstance(layer, torch.nn.Softsign) for layer in layers) >= 3


@pytest.mark.parametrize(
    ("init", "spread"), [("kaiming", (2 / 576) ** 0.5), ("xavier", (2 / (576 + 1152)) ** 0.5), ("gaussian", 0.01)]
)
def test_initializations_spread_weights_as_their_papers_say(init, spread):
    layer = nn.Conv2d(64, 128, 3)
    initialize(layer, init)
    assert layer.weight.std().item() == pytest.approx(spread, rel=0.02)
    assert not layer.bias.any()


def test_alexnets_biases_are_as_in_the_paper():
    net = timm.create_model("alexnet_half")
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    assert [b.unique().tolist() for b in biases] == [[x] for x in (0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0)]


@pytest.mark.parametrize("name", ["inception_v1", "resnet34_a", "bn_inception", "vgg16_c"])
def test_deep_networks_start_with_maps_of_a_size_that_can_learn(name):
    net = timm.create_model(name, num_classes=0)
    image = torch.randn(4, 3, 96, 96)
    with torch.no_grad():
        last = net.train().forward_features(image)
    assert 1e-3 < last.std() < 1e3


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: activation_layer("rulu"), ("rulu", "relu")),
        (lambda: convolution(3, 4, norm="batch"), ("batch", "batchnorm")),
        (lambda: initialize(nn.Linear(2, 2), "he"), ("init", "he", "kaiming")),
        (lambda: timm.create_model("inception_v1", num_classes=0, auxiliary=True), ("inception_v1", "auxiliary")),
        (lambda: by_name("plain18", drop_path=0.1), ("drop_path",)),
        (lambda: by_name("inception_v1", drop_path=0.1), ("inception_v1", "drop_path_rate")),
        (lambda: by_name("alexnet_towers", small_images=True), ("alexnet_towers", "small_images")),
        (lambda: by_name("inception_v1", output_stride=8), ("inception_v1", "output_stride 8", "resnet50")),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(make, names):
    with refuses(ConfigError, *names):
        make()
