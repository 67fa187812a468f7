"""ResNeXt's three forms are one function, and timm's."""

import pytest
import timm
import torch
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn

from modules.backbones import Timm
from modules.backbones.classics.blocks import Residual
from modules.backbones.classics.resnext import FORMS, resnext_forms
from modules.contracts import ConfigError
from tests.helpers.errors import refuses

TINY = {"cardinality": 4, "width": 2, "depths": (2, 1), "num_classes": 5}


def stirred(net: nn.Module) -> nn.Module:
    """Evaluated with statistics and biases of its own, so that no copy is equal by chance."""
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point() and not name.endswith("weight"):
            tensor.add_(torch.rand_like(tensor) * 0.1)
    return net.eval()


def layers(net: nn.Module) -> list[nn.Module]:
    return [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)]


def fill(layer: nn.Module, state: dict[str, Tensor]) -> None:
    layer.load_state_dict(state)


def parts(layer: nn.Module, count: int, dim: int = 0) -> list[dict[str, Tensor]]:
    """The tensors of a layer cut into `count` along a dimension, scalars as they are."""
    cut = {k: v.chunk(count, dim) if v.ndim else [v] * count for k, v in layer.state_dict().items()}
    return [{key: values[index] for key, values in cut.items()} for index in range(count)]


def map_block(grouped: nn.Module, other: nn.Module, form: str, count: int) -> None:
    """The tensors of a grouped branch into one of another form."""
    *first, (last, norm) = [layers(layer) for layer in grouped]
    cut = [parts(layer, count) for pair in first for layer in pair]
    ends = parts(last, count, dim=1)
    for index, branch in enumerate(other[0]):
        states = [pieces[index] for pieces in cut] + ([ends[index]] if form == "branches" else [])
        for layer, state in zip(layers(branch), states, strict=True):
            fill(layer, state)
    end = [norm] if form == "branches" else [last, norm]
    for layer, source in zip(layers(other[1]), end, strict=True):
        fill(layer, source.state_dict())


@pytest.mark.parametrize("form", ["branches", "concatenated"])
def test_a_form_with_mapped_weights_is_the_grouped_convolution(form):
    grouped, other = stirred(resnext_forms(**TINY)), resnext_forms(form=form, **TINY).eval()
    shared = {k: v for k, v in grouped.state_dict().items() if ".branch." not in k}
    other.load_state_dict(shared, strict=False)
    pairs = [[m for m in net.modules() if isinstance(m, Residual)] for net in (grouped, other)]
    for own, theirs in zip(*pairs, strict=True):
        map_block(own.branch, theirs.branch, form, TINY["cardinality"])
    image = torch.rand(2, 3, 48, 40)
    with torch.no_grad():
        torch.testing.assert_close(other(image), grouped(image), atol=1e-5, rtol=1e-4)
        other.stages[1][0].branch[0][0][0][0].weight.mul_(-1)  # a mapping that does not matter would prove nothing
        assert not torch.allclose(other(image), grouped(image), atol=1e-4)


def test_the_grouped_form_is_timms():
    theirs = stirred(ResNet(Bottleneck, [1, 1, 1, 1], num_classes=5, cardinality=4, base_width=2))
    ours = resnext_forms(**TINY | {"depths": (1, 1, 1, 1)}).eval()
    pairs = zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True)
    ours.load_state_dict({name: tensor.reshape(own.shape) for (name, own), tensor in pairs})
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_learns_and_has_the_same_parameters(form):
    net = resnext_forms(form=form, **TINY)
    net(torch.rand(2, 3, 32, 32)).square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert sum(p.numel() for p in net.parameters()) == sum(p.numel() for p in resnext_forms(**TINY).parameters())


def test_the_published_one_has_the_parameters_of_timms():
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in timm.create_model(n).parameters()) for n in ("resnext_forms", "resnext50_32x4d")
        ]
    assert counts == [25_028_904] * 2


def test_the_backbone_takes_the_form_as_an_option():
    options = {"form": "branches", "cardinality": 2, "width": 2, "depths": (1, 1)}
    backbone = Timm("resnext_forms", options=options, attention="se", drop_path=0.1)
    assert backbone.features == ([64, 256, 512], [2, 4, 8])
    assert [tuple(x.shape[1:]) for x in backbone(torch.rand(1, 3, 32, 32))] == [(64, 16, 16), (256, 8, 8), (512, 4, 4)]


def test_a_form_that_does_not_exist_is_said():
    with refuses(ConfigError, "resnext_forms", "form", "split", "branches"):
        timm.create_model("resnext_forms", form="split")
