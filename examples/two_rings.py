"""Feature lifting: two rings that no line separates, and the same head on lifted features.

A linear layer draws a straight line. On products of the coordinates it draws an ellipse, because x^2 and y^2 are then
features like any other, and in the plane of these two the rings *are* separated by a line. Random cosines of the
coordinates (random Fourier features) do the same without knowing that rings are round.

python examples/two_rings.py      writes two_rings.png
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from modules.contracts import Features
from modules.heads import Lifted, Linear

PLANE = Features([2], [1])
HEADS = {
    "Linear": lambda: Linear(PLANE, 2),
    "Lifted, polynomial of degree 2": lambda: Lifted(PLANE, 2, lift="polynomial"),
    "Lifted, 64 random Fourier features": lambda: Lifted(PLANE, 2, lifted_features=64, bandwidth=1.0),
}


def rings(count: int) -> tuple[Tensor, Tensor]:
    """Points (count, 2) on rings of radius 1 and 2, and their ring int64 (count,)."""
    labels = torch.arange(count) % 2
    radius, angle = 1 + labels + 0.15 * torch.randn(count), 2 * torch.pi * torch.rand(count)
    return radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1), labels


def fit(head: Linear, x: Tensor, labels: Tensor) -> float:
    """Fit the layer of a head by L-BFGS with a small L2 penalty; returns the share of points that it gets right."""
    solver = torch.optim.LBFGS(head.fc.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        solver.zero_grad()
        loss = head.loss(head(x), labels) + 1e-4 * head.fc.weight.square().sum()
        loss.backward()
        return loss

    solver.step(objective)
    return (head(x).argmax(1) == labels).float().mean().item()


@torch.no_grad()
def draw(axes: Axes, head: Linear, x: Tensor, labels: Tensor, title: str) -> None:
    """Draw the points over what the head decides everywhere."""
    line = torch.linspace(-2.8, 2.8, 150)
    grid = torch.cartesian_prod(line, line)
    decided = head(grid).argmax(1).view(150, 150).T
    axes.contourf(line, line, decided, levels=[-0.5, 0.5, 1.5], colors=["#c6dbef", "#fdd0a2"])
    axes.scatter(*x.T, 8, labels, cmap="coolwarm")
    axes.set(title=title, xlabel="x", ylabel="y", aspect="equal")


def main(folder: Path) -> dict[str, float]:
    """Fit the three heads and draw them; returns their accuracies on new points, 0..1."""
    torch.manual_seed(0)
    (x, labels), test = rings(400), rings(2000)
    figure, reached = Figure((17, 4.4), layout="constrained"), {}
    first, *others = figure.subplots(1, 4)
    first.scatter(*x.square().T, 8, labels, cmap="coolwarm")
    first.set(title="The same points, lifted: a line separates them", xlabel="x²", ylabel="y²")
    for axes, (name, build) in zip(others, HEADS.items(), strict=True):
        head = build()
        fit(head, x, labels)
        reached[name] = (head(test[0]).argmax(1) == test[1]).float().mean().item()
        print(f"{name}: {100 * reached[name]:.1f} % right")
        draw(axes, head, x, labels, f"{name}: {100 * reached[name]:.1f} %")
    figure.savefig(folder / "two_rings.png", dpi=80)
    return reached


if __name__ == "__main__":
    main(Path(*sys.argv[1:]))
