"""Linear, two-layer and three-layer networks in NumPy, trained on three spiral arms that no straight line separates.

A fully connected layer is s = x W + b; between layers stands a ReLU, without which two layers are one (the product of
two matrices is a matrix). The loss is the cross-entropy of the softmax, and its gradient by the scores is the neatest
result of the field: probabilities minus the one-hot truth.

python examples/from_scratch/networks.py      writes networks.png
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from gradient_check import Array, report

Layers = list[tuple[Array, Array]]
"""Weight (D, M) and bias (M,) of each layer."""
Labels = np.ndarray
"""Integers 0..C-1."""


def initialize(sizes: list[int], random: np.random.Generator) -> Layers:
    """Layers of these widths, input and classes included; weights of variance 2 / D, so that ReLUs keep the scale."""
    return [(random.normal(size=(d, m)) * np.sqrt(2 / d), np.zeros(m)) for d, m in pairwise(sizes)]


def forward(layers: Layers, x: Array) -> list[Array]:
    """Inputs of each layer and, last, the scores (N, C)."""
    steps = [x]
    for number, (weight, bias) in enumerate(layers, 1):
        scores = steps[-1] @ weight + bias
        steps.append(scores if number == len(layers) else np.maximum(scores, 0))
    return steps


def cross_entropy(scores: Array, labels: Labels) -> tuple[float, Array]:
    """Mean loss of scores (N, C) against classes (N,), and its gradient (N, C)."""
    shifted = scores - scores.max(1, keepdims=True)  # changes no probability, and exp cannot overflow
    log_probability = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    rows = np.arange(len(labels))
    gradient = np.exp(log_probability)
    gradient[rows, labels] -= 1
    return float(-log_probability[rows, labels].mean()), gradient / len(labels)


def loss_and_gradients(layers: Layers, x: Array, labels: Labels, decay: float = 0.0) -> tuple[float, Layers]:
    """Cross-entropy plus decay / 2 times the squared weights; gradients as (weight, bias) of each layer."""
    steps = forward(layers, x)
    loss, upstream = cross_entropy(steps[-1], labels)
    gradients: Layers = []
    for (weight, _), entered in zip(reversed(layers), reversed(steps[:-1]), strict=True):
        gradients.append((entered.T @ upstream + decay * weight, upstream.sum(0)))
        upstream = (upstream @ weight.T) * (entered > 0)  # of the first layer it is not needed, and not used
    return loss + decay / 2 * sum(float((weight**2).sum()) for weight, _ in layers), gradients[::-1]


def train(layers: Layers, x: Array, labels: Labels, steps: int = 400, rate: float = 0.5, decay: float = 1e-3) -> float:
    """Gradient descent on all points at once, in place; returns the share of points that it gets right."""
    for _ in range(steps):
        _, gradients = loss_and_gradients(layers, x, labels, decay)
        for (weight, bias), (d_weight, d_bias) in zip(layers, gradients, strict=True):
            weight -= rate * d_weight
            bias -= rate * d_bias
    return float((forward(layers, x)[-1].argmax(1) == labels).mean())


def spirals(each: int, random: np.random.Generator, arms: int = 3) -> tuple[Array, Labels]:
    """Points (arms * each, 2) along spiral arms, and their arm."""
    radius, labels = np.tile(np.linspace(0.05, 1, each), arms), np.repeat(np.arange(arms), each)
    angle = 4 * radius + 2 * np.pi / arms * labels + random.normal(0, 0.15, len(labels))
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], 1), labels


def main(folder: Path = Path()) -> dict[str, float]:
    """Check the gradients, train three networks, draw what they decide; returns their accuracies, 0..1."""
    from matplotlib.figure import Figure

    random = np.random.default_rng(0)
    x, labels = spirals(100, random)
    small = initialize([2, 5, 4, 3], random)
    _, gradients = loss_and_gradients(small, x[::30], labels[::30], 0.1)
    pairs = {f"W{i}": (w, dw) for i, ((w, _), (dw, _)) in enumerate(zip(small, gradients, strict=True), 1)}
    report(lambda: loss_and_gradients(small, x[::30], labels[::30], 0.1)[0], pairs)

    grid = np.stack(np.meshgrid(np.linspace(-1.2, 1.2, 120), np.linspace(-1.2, 1.2, 120)), -1)
    figure, reached = Figure((12, 4), layout="constrained"), {}
    for axes, sizes in zip(figure.subplots(1, 3), ([2, 3], [2, 64, 3], [2, 64, 64, 3]), strict=True):
        layers, name = initialize(sizes, random), " - ".join(map(str, sizes))
        reached[name] = train(layers, x, labels)
        print(f"{name}: {100 * reached[name]:.1f} % right")
        decided = forward(layers, grid.reshape(-1, 2))[-1].argmax(1).reshape(120, 120)
        axes.imshow(decided, "viridis", alpha=0.4, origin="lower", extent=(-1.2, 1.2, -1.2, 1.2))
        axes.scatter(*x.T, 12, labels, edgecolors="white", linewidths=0.3)
        axes.set_title(f"{name}: {100 * reached[name]:.1f} % right")
    figure.savefig(folder / "networks.png", dpi=100)
    return reached


if __name__ == "__main__":
    main(Path(*sys.argv[1:]))
