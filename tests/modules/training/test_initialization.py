"""Initializations by name: deviations by their formulas, on networks of ours and of timm's."""

import math

import pytest
import torch
from torch import nn

from modules.contracts import ConfigError
from modules.training.initialization import LAYERS, initialize_network, initialize_task
from modules.training.optim import Optim
from tasks import Classification
from tests.helpers.errors import refuses
from tests.helpers.training import train

DEVIATIONS = {
    "zeros": 0.0,
    "gaussian": 0.03,
    "xavier_normal": math.sqrt(2 / (9 * 64 + 9 * 128)),
    "xavier_uniform": math.sqrt(2 / (9 * 64 + 9 * 128)),
    "kaiming_normal": math.sqrt(2 / (9 * 64)),
    "kaiming_uniform": math.sqrt(2 / (9 * 64)),
    "fan_in": 1 / math.sqrt(9 * 64),
}


@pytest.mark.parametrize("way", DEVIATIONS)
def test_weights_have_the_deviation_of_the_formula_and_biases_are_zero(way):
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 128, 3)
    initialize_network(layer, way, std=0.03)
    assert layer.weight.std().item() == pytest.approx(DEVIATIONS[way], rel=0.02)
    assert not layer.bias.any()
    bound = math.sqrt(3) * DEVIATIONS[way]
    assert (layer.weight.abs().max() <= bound * 1.0001) == (way == "zeros" or way.endswith("uniform"))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "lenet5"])
def test_lsuv_gives_every_layer_unit_variance(name):
    task = Classification(classes=["a", "b", "c"], backbone=name)
    initialize_task(task, task.backbone, "lsuv", 0.01)
    assert task.training
    seen = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output: seen.append(output.std().item()))
        for layer in task.modules()
        if isinstance(layer, LAYERS)
    ]
    noise = torch.Generator().manual_seed(0)
    size = task.backbone.config["input_size"]
    task.eval()(torch.randn(4, *size, generator=noise))
    assert len(seen) == len(hooks) and seen == pytest.approx([1.0] * len(seen), rel=1e-3)


def test_training_begins_with_it():
    task = Classification(classes=["a", "b"], backbone="test_resnet", init="zeros", optim=Optim(lr=0.0))
    batch = {"image": torch.zeros(4, 3, 32, 32, dtype=torch.uint8), "label": torch.arange(4) % 2}
    train(task, batch, 1)
    weights = [layer.weight for layer in task.modules() if isinstance(layer, LAYERS)]
    assert len(weights) > 5 and not any(weight.any() for weight in weights)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"weights": "pretrained"}, ("model.init", "zeros", "model.weights")),
        ({"frozen": True}, ("model.init", "model.frozen")),
    ],
)
def test_an_initialization_that_would_not_count_is_refused(settings, names):
    with refuses(ConfigError, *names):
        Classification(classes=["a", "b"], backbone="test_resnet", init="zeros", **settings)
    with refuses(ConfigError, "model.init_std", -1):
        initialize_network(nn.Linear(2, 2), "gaussian", -1)
