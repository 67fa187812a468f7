"""Costs and signals of layers in a training step: against torch's counters, closed forms and planted faults."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from commands.backbones.facts import Facts
from commands.inspect.report import blocks, change, dead_kernels, signals, summed, table, weighted
from modules.backbones import by_name
from modules.insight.watch import Watch


def watched(network: nn.Module, inputs: torch.Tensor) -> dict:
    with Watch(network) as watch:
        out = network(inputs)
        loss = (out[-1] if isinstance(out, list) else out).square().mean()
    loss.backward()
    watch.measure_gradients()
    return watch.layers


def mlp(activation: type[nn.Module], scale: float) -> nn.Sequential:
    """Twelve square layers whose weights have a standard deviation of `scale` over the root of their width."""
    layers = [part for _ in range(12) for part in (nn.Linear(32, 32), activation())]
    for layer in layers[::2]:
        nn.init.normal_(layer.weight, 0, scale / 32**0.5)
    return nn.Sequential(*layers)


def test_macs_and_parameters_are_those_of_torchs_counter_and_of_the_backbones_command():
    network = by_name("test_resnet")
    layers = list(watched(network, torch.randn(2, 3, 160, 160)).values())
    with FlopCounterMode(display=False) as counter:
        network(torch.randn(2, 3, 160, 160))
    whole, facts = summed("all", layers), Facts("test_resnet")
    assert whole.macs == counter.get_total_flops() // 2 == 2 * facts.macs  # 160 pixels are its own
    assert whole.parameters == sum(p.numel() for p in network.parameters())
    assert sum(block.macs for block in blocks(layers)) == whole.macs
    assert all(len(line) <= 80 for line in table(layers, 2))


def test_attention_is_counted_and_shared_weights_count_once():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    network = nn.Sequential(layer, nn.Linear(16, 16), nn.Linear(16, 16))
    network[2].weight = network[1].weight
    layers = list(watched(network, torch.randn(3, 5, 16)).values())
    tokens = 3 * 5
    linear = tokens * (4 * 16 * 16 + 2 * 16 * 32 + 2 * 16 * 16)
    assert summed("all", layers).macs == linear + 2 * tokens * 5 * 16  # and the products of queries, keys and values
    assert summed("all", layers).parameters == sum(p.numel() for p in network.parameters())


def test_memory_is_what_the_backward_pass_needs():
    network = nn.Sequential(nn.Linear(8, 4), nn.Sigmoid(), nn.Linear(4, 2))
    layers = watched(network, torch.randn(10, 8))
    assert layers["0"].memory == 10 * 8 * 4 and layers["1"].memory == 10 * 4 * 4  # input, and output of the sigmoid
    assert layers["2"].memory == 0  # its input is kept already


def test_moments_and_gradients_are_those_of_autograd():
    network = nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 2))
    inputs = torch.randn(10, 8)
    layers = watched(network, inputs)
    hidden = network[0](inputs)
    (gradient,) = torch.autograd.grad(network[1:](hidden).square().mean(), hidden)
    assert layers["0"].gradient == pytest.approx(gradient.norm().item(), rel=1e-5)
    assert layers["0"].std == pytest.approx(hidden.std(correction=0).item(), rel=1e-5)
    assert layers["0"].weight_norm == pytest.approx(
        sum(p.square().sum().item() for p in network[0].parameters()) ** 0.5
    )


@pytest.mark.parametrize(
    ("activation", "scale", "said"),
    [(nn.Sigmoid, 1.0, "vanishing"), (nn.ReLU, 4.0, "exploding"), (nn.ReLU, 2**0.5, "neither")],
)
def test_gradients_that_vanish_or_explode_are_said(activation, scale, said):
    layers = list(watched(mlp(activation, scale), torch.randn(64, 32)).values())
    assert said in signals(layers, "here")[0]
    assert len(weighted(layers)) == 12


def test_the_trend_is_that_of_the_layers_without_outliers():
    assert change([1, 10, 100, 1000, 1e-9, 1e5]) == pytest.approx(1e5, rel=1e-6)


def test_dead_relus_and_kernels_are_counted():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU6(inplace=True), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU())
    with torch.no_grad():
        network[0].bias[:3] = -100
        network[2].weight[5:7] = 1e-6
        network[2].bias[:] = 1
    layers = watched(network, torch.randn(4, 3, 12, 12))
    assert (layers["1"].relus, layers["1"].dead) == (8, 3)
    assert layers["3"].dead == 0
    assert dead_kernels(network) == {"2": (2, 8)}
