"""Twelve switches lead from torchvision's ResNet-50 to timm's ConvNeXt-T."""

import pytest
import timm
import torch
from timm.layers import DropPath, LayerNorm2d
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import Bottleneck

from modules.backbones import Timm
from modules.backbones.classics.blocks import Residual
from modules.backbones.classics.convnext_steps import Switches, convnext_steps
from modules.contracts import ConfigError
from tests.helpers.errors import refuses

TINY = {"depths": (1, 2, 1, 1), "width": 8, "num_classes": 5}
MACS = [4.09, 4.53, 4.42, 2.35, 5.27, 4.64, 4.07, 4.15]
"""GMACs at 224 x 224 of the first steps in table 10 of the paper (Liu et al. 2022)."""


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def stirred(net: nn.Module) -> nn.Module:
    """Evaluated with numbers of its own in every tensor, so that no copy is equal by chance."""
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) * 0.4 + (0.8 if tensor.ndim == 1 else -0.2))
    return net.eval()


def assert_same(ours: nn.Module, theirs: nn.Module, tensors: list[Tensor]) -> None:
    """Equal logits after `ours` took the `tensors` of `theirs` in this order."""
    own = ours.state_dict()
    ours.load_state_dict({k: value.reshape(own[k].shape) for k, value in zip(own, tensors, strict=True)})
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(image), theirs(image), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("step", "billions"), list(enumerate(MACS)))
def test_each_step_costs_what_the_paper_says(step, billions):
    with torch.device("meta"):
        net, macs = timm.create_model("convnext_steps", step=step), []
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(lambda own, _, x: macs.append(own.weight[0].numel() * x.numel()))
        net(torch.rand(1, 3, 224, 224))
    assert sum(macs) / 1e9 == pytest.approx(billions, abs=0.0061)


@pytest.mark.parametrize(("step", "name"), [(0, "resnet50"), (12, "convnext_tiny")])
def test_the_ends_have_the_parameters_of_their_networks(step, name):
    with torch.device("meta"):
        assert count(timm.create_model("convnext_steps", step=step)) == count(timm.create_model(name))


def test_the_first_step_is_torchvisions_resnet():
    theirs = stirred(ResNet(Bottleneck, [1, 2, 1, 1], num_classes=5, width_per_group=64))
    ours = convnext_steps(step=0, **TINY | {"width": 64})
    assert_same(ours, theirs, list(theirs.state_dict().values()))


def test_the_last_step_is_timms_convnext_block_by_block():
    theirs = stirred(ConvNeXt(depths=(1, 2, 1, 1), dims=(8, 16, 32, 64), num_classes=5))
    tensors: list[Tensor] = []
    for key, tensor in theirs.state_dict().items():
        if key.endswith("gamma"):  # the first of theirs in a block, our last
            scale = tensor
            continue
        tensors += [tensor, scale] if key.endswith("mlp.fc2.bias") else [tensor]
    assert_same(convnext_steps(**TINY), theirs, tensors)


def test_every_parameter_of_each_step_learns():
    image = torch.rand(2, 3, 32, 32)
    for step in range(13):
        net = convnext_steps(step=step, **TINY, layer_scale=1.0)
        net(image).square().sum().backward()
        assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(("number", "name"), list(enumerate(Switches._fields, 1)))
def test_a_switch_alone_changes_the_network_and_turned_off_gives_the_step_before(number, name):
    free = {"stage_ratio": "depths", "width": "width"}.get(name)
    sizes = {key: value for key, value in TINY.items() if key != free}

    def shown(step: int, on: bool | None = None) -> str:
        with torch.device("meta"):
            return str(convnext_steps(step=step, switches=None if on is None else {name: on}, **sizes))

    assert shown(0, True) != shown(0)
    assert shown(number, False) == shown(number - 1)


def test_a_block_has_the_norms_and_activations_of_its_step():
    def kinds(step: int) -> list[str]:
        block = convnext_steps(step=step, **TINY).stages[2][-1]
        return [type(m).__name__ for m in block.modules() if not list(m.children()) and not isinstance(m, nn.Identity)]

    conv, norm, relu = "Conv2d", "BatchNorm2d", "ReLU"
    assert kinds(7) == [conv, norm, relu, conv, norm, relu, conv, norm, relu]
    assert kinds(8) == [conv, norm, "GELU", conv, norm, "GELU", conv, norm, "GELU"]
    assert kinds(9) == [conv, norm, conv, norm, "GELU", conv, norm]
    assert kinds(10) == [conv, norm, conv, "GELU", conv]
    assert kinds(11) == [conv, "LayerNorm2d", conv, "GELU", conv]
    assert kinds(12) == [*kinds(11), "LayerScale2d"]


def test_the_backbone_takes_the_step_as_an_option():
    backbone = Timm(
        "convnext_steps", options={"depths": (1, 2, 1, 1), "width": 8, "patch_size": 2}, drop_path=0.2
    ).eval()
    assert backbone.features == ([8, 16, 32, 64], [2, 4, 8, 16])
    maps = backbone(torch.rand(2, 3, 32, 48))
    assert [tuple(x.shape[1:]) for x in maps] == [(8, 16, 24), (16, 8, 12), (32, 4, 6), (64, 2, 3)]
    pooled = backbone.pool(maps)
    norm = backbone.net.head.norm
    assert isinstance(norm, LayerNorm2d)
    torch.testing.assert_close(pooled, norm(maps[-1].mean((-2, -1), keepdim=True)).flatten(1))
    rates = [m.drop_path for m in backbone.net.modules() if isinstance(m, Residual)]
    assert [m.drop_prob if isinstance(m, DropPath) else 0 for m in rates] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    with torch.device("meta"):
        small = Timm("convnext_steps", options={"step": 1}, small_images=True)
    assert small.features.strides == [1, 1, 2, 4, 8]


def test_new_classes_keep_the_norm_of_the_pooled_features():
    net = convnext_steps(**TINY | {"num_classes": 0})
    norm = net.head.norm
    net.reset_classifier(7)
    assert net.head.norm is norm
    assert net(torch.rand(1, 3, 32, 32)).shape == (1, 7)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"step": 13}, ("step", 13, 12)),
        ({"step": -1}, ("step", -1)),
        ({"switches": {"kernel7": True}}, ("kernel7", "kernel_7")),
        ({"step": 1, "patch_size": 2}, ("patch_size", 2)),
        ({"patch_size": 0}, ("patch_size", 0)),
    ],
)
def test_what_the_network_cannot_be_is_said(options, names):
    with refuses(ConfigError, "convnext_steps", *names):
        timm.create_model("convnext_steps", **options)
