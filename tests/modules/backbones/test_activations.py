"""Activations exchanged in networks of any library, and Maxout by its formula."""

from functools import partial

import pytest
import torch
from torch import nn

from modules.backbones import by_name
from modules.backbones.activations import MaxoutUnit, exchange_activations
from modules.backbones.pooling import use_fractional_pooling
from modules.contracts import ConfigError
from modules.training.transfer import describe, export_backbone, load_backbone
from tasks import Classification
from tests.helpers.errors import refuses


@pytest.mark.parametrize(("shape", "dim"), [((2, 6, 5, 4), 1), ((2, 7, 6), -1), ((2, 6, 3, 4, 4), 1)])
def test_maxout_is_the_maximum_of_linear_maps_and_starts_as_a_relu(shape, dim):
    torch.manual_seed(0)
    unit, x = MaxoutUnit(6, dim, 3), torch.randn(shape)
    assert torch.equal(unit(x), x.relu())
    nn.init.normal_(unit.linear.weight)
    nn.init.normal_(unit.linear.bias)
    weight, bias = unit.linear.weight.unflatten(0, (6, 3)), unit.linear.bias.unflatten(0, (6, 3))
    pieces = torch.einsum("cki,...i->...ck", weight, x.movedim(dim, -1)) + bias
    torch.testing.assert_close(unit(x), pieces.max(-1).values.movedim(-1, dim))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "lenet5", "torchvision/squeezenet1_1"])
def test_every_activation_is_exchanged_and_tensors_keep_their_names(name):
    torch.manual_seed(0)
    image = torch.randn(2, 3, 64, 64)
    for activation in ("softsign", "maxout"):
        backbone = by_name(name).eval()
        before = backbone.net.state_dict().keys()
        exchange_activations(backbone, activation)
        kinds = {type(layer) for layer in backbone.net.modules() if not [*layer.children()]}
        assert not kinds & {nn.ReLU, nn.GELU, nn.Tanh}
        assert before <= backbone.net.state_dict().keys()
        assert all(torch.isfinite(one).all() for one in backbone(image))
        assert describe(backbone)["activation"] == activation


def test_a_network_of_relus_computes_the_same_with_maxout_that_starts_from_its_weights(tmp_path):
    plain, ours = by_name("test_resnet").eval(), by_name("test_resnet").eval()
    export_backbone(plain, tmp_path / "plain.safetensors")
    exchange_activations(ours, "maxout")
    said = load_backbone(ours, str(tmp_path / "plain.safetensors"))
    image = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours(image)[-1], plain(image)[-1])
    assert "start afresh" in said and all(name.endswith(("linear.weight", "linear.bias")) for name in ours.untrained)


@pytest.mark.parametrize(
    ("exchange", "option"),
    [
        (partial(exchange_activations, name="softsign"), "model.activation softsign"),
        (use_fractional_pooling, "model.pooling fractional"),
    ],
)
def test_weights_of_other_layers_are_refused_by_the_option_that_is_missing(tmp_path, exchange, option):
    trained, again = by_name("squeezenet1_1"), by_name("squeezenet1_1")
    exchange(trained)
    export_backbone(trained, tmp_path / "backbone.safetensors")
    with refuses(ConfigError, option):
        load_backbone(again, str(tmp_path))
    exchange(again)
    assert "start afresh" not in load_backbone(again, str(tmp_path))


def test_what_cannot_be_exchanged_is_refused():
    with refuses(ConfigError, "model.activation", "softsign", "pixels"):
        exchange_activations(by_name("pixels"), "softsign")
    with refuses(ConfigError, "model.activation", "maxout", "torchvision/resnet50", "layer1.0.relu", 64, 256):
        exchange_activations(by_name("torchvision/resnet50"), "maxout")
    with refuses(ConfigError, "model.activation", "soft"):
        Classification(classes=["a", "b"], backbone="test_resnet", activation="soft")
