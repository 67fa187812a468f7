"""Initializations by name: deviations by their formulas, on networks of ours and of timm's."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from datamodules.samples import drawn_images
from modules.contracts import ConfigError
from modules.contracts.data_info import DataInfo
from modules.training.initialization import LAYERS, initialize_network, unit_variance
from modules.training.optim import Optim
from tasks import BYOL, Classification, Detection, SemanticSegmentation
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


IMAGES = torch.randint(0, 256, (8, 3, 160, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: Classification(classes=["a", "b", "c"], backbone="test_resnet", init="lsuv"), 32),
        (lambda: Classification(classes=["a", "b", "c"], backbone="test_vit", init="lsuv"), 160),
        (lambda: Classification(classes=["a", "b", "c"], backbone="lenet5", init="lsuv"), 32),
        (lambda: SemanticSegmentation(classes=["a", "b"], backbone="test_resnet", init="lsuv"), 64),
        (lambda: Detection(classes=["a"], backbone="test_resnet", init="lsuv"), 64),
        (lambda: BYOL(backbone="test_resnet", init="lsuv"), 32),
    ],
)
def test_lsuv_gives_every_layer_unit_variance_on_training_images(make, size):
    task, image = make(), IMAGES[..., :size, :size]
    task._initialize("lsuv", DataInfo(images=lambda count: image[:count]))
    assert task.training
    network, run = task.initialized
    seen = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output: seen.append(output.std().item()))
        for layer in network.modules()
        if isinstance(layer, LAYERS)
    ]
    network.eval()
    run(task.normalized(image))
    assert len(seen) == len(hooks) > 4 and seen == pytest.approx([1.0] * len(seen), rel=1e-3)


def test_lsuv_scales_the_layers_of_a_compiled_network_as_they_are():
    graphs = []
    network = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    network.compile(backend=lambda graph, _: graphs.append(graph) or graph.forward)
    assert unit_variance(network, lambda: network(torch.randn(64, 8))) == 2
    assert not graphs
    network(torch.randn(64, 8))
    assert len(graphs) == 1


def test_lsuv_draws_its_images_by_the_seed_and_needs_some():
    rows = [drawn_images(Numbers(), lambda rows: {"image": torch.stack(rows)}, seed, 5).tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2] and len({*rows[0]}) == 5
    with refuses(ConfigError, "model.init", "lsuv"):
        Classification(classes=["a", "b"], backbone="test_resnet", init="lsuv").on_data(DataInfo(), "fit")


class Numbers(Dataset):
    def __len__(self) -> int:
        return 100

    def __getitem__(self, key: tuple[int, int]) -> torch.Tensor:
        return torch.tensor(key[1])


def test_training_begins_with_it():
    task = Classification(classes=["a", "b"], backbone="test_resnet", init="zeros", optim=Optim(lr=0.0))
    batch = {"image": torch.zeros(4, 3, 32, 32, dtype=torch.uint8), "label": torch.arange(4) % 2}
    train(task, batch, 1)
    weights = [layer.weight for layer in task.modules() if isinstance(layer, LAYERS)]
    assert len(weights) > 5 and not any(weight.any() for weight in weights)
    task, view = BYOL(backbone="test_resnet", init="zeros", optim=Optim(lr=0.0)), batch["image"]
    train(task, {"views": [view, view], "id": ["x"] * 4}, 1)
    teacher = [layer.weight for layer in task.teacher.backbone.modules() if isinstance(layer, LAYERS)]
    assert len(teacher) > 5 and not any(weight.any() for weight in teacher)  # a momentum encoder begins with it too


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
