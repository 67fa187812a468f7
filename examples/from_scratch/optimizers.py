"""SGD, momentum, AdaGrad, RMSprop and Adam in five lines each, racing from a saddle.

At a saddle the surface falls to one side and rises to the other, and right on it the gradient is zero: plain gradient
descent slides into it along the steep direction and then waits. Momentum adds up the small slope that is there. The
adaptive ones divide each coordinate by the size of its own gradients, so a small slope counts as much as a large one.

python examples/from_scratch/optimizers.py      writes optimizers.png
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from gradient_check import Array, report

Optimizer = Callable[[Array, Array, dict], None]
"""Changes the point in place, given its gradient and a dict that is its memory."""


def sgd(x: Array, gradient: Array, memory: dict, rate: float = 0.05) -> None:
    """Straight downhill, the further the steeper."""
    x -= rate * gradient


def momentum(x: Array, gradient: Array, memory: dict, rate: float = 0.05, keep: float = 0.9) -> None:
    """A ball with friction: the velocity keeps a share and adds the slope."""
    memory["velocity"] = keep * memory.get("velocity", 0) + gradient
    x -= rate * memory["velocity"]


def adagrad(x: Array, gradient: Array, memory: dict, rate: float = 0.1, eps: float = 1e-10) -> None:
    """Each coordinate has its own rate, which falls with all the gradients it has seen (Duchi et al. 2011)."""
    memory["squares"] = memory.get("squares", 0) + gradient**2
    x -= rate * gradient / (np.sqrt(memory["squares"]) + eps)


def rmsprop(x: Array, gradient: Array, memory: dict, rate: float = 0.02, keep: float = 0.99, eps: float = 1e-8) -> None:
    """AdaGrad that forgets: a moving average of squares, so that the rate does not die (Hinton 2012).

    The average starts at 0, so that the first steps are 1 / sqrt(1 - keep) = 10 times too long: here luck, else a trap.
    """
    memory["squares"] = keep * memory.get("squares", 0) + (1 - keep) * gradient**2
    x -= rate * gradient / (np.sqrt(memory["squares"]) + eps)


def adam(
    x: Array, gradient: Array, memory: dict, rate: float = 0.02, keep: tuple = (0.9, 0.999), eps: float = 1e-8
) -> None:
    """Momentum over RMSprop; both averages start at 0 and are too small at first, which is undone (Kingma, Ba 2015)."""
    t = memory["steps"] = memory.get("steps", 0) + 1
    memory["mean"] = keep[0] * memory.get("mean", 0) + (1 - keep[0]) * gradient
    memory["squares"] = keep[1] * memory.get("squares", 0) + (1 - keep[1]) * gradient**2
    mean, squares = memory["mean"] / (1 - keep[0] ** t), memory["squares"] / (1 - keep[1] ** t)
    x -= rate * mean / (np.sqrt(squares) + eps)


OPTIMIZERS: dict[str, Optimizer] = {
    "SGD": sgd,
    "momentum": momentum,
    "AdaGrad": adagrad,
    "RMSprop": rmsprop,
    "Adam": adam,
}


def surface(x: Array) -> Array:
    """Height over points (..., 2): a valley along the second axis, a saddle at 0, minima of -1 at (0, +-sqrt 2)."""
    return 2 * x[..., 0] ** 2 - x[..., 1] ** 2 + x[..., 1] ** 4 / 4


def slope(x: Array) -> Array:
    """Gradient of `surface`, (2,)."""
    return np.array([4 * x[0], -2 * x[1] + x[1] ** 3])


def run(optimizer: Optimizer, start: tuple[float, float] = (1.0, 1e-3), steps: int = 150) -> Array:
    """Path (steps + 1, 2) of an optimizer that starts beside the ridge, almost exactly uphill of the saddle."""
    x, memory = np.array(start), {}
    path = [x.copy()]
    for _ in range(steps):
        optimizer(x, slope(x), memory)
        path.append(x.copy())
    return np.array(path)


def main(folder: Path = Path()) -> dict[str, int]:
    """Race from the saddle and draw the paths; returns the steps that each needs to fall below -0.9."""
    from matplotlib.figure import Figure

    x = np.array([0.7, -0.4])
    report(lambda: float(surface(x)), {"surface": (x, slope(x))})
    figure = Figure((12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    grid = np.stack(np.meshgrid(np.linspace(-1.2, 1.2, 100), np.linspace(-0.6, 2.1, 100)), -1)
    left.contour(grid[..., 0], grid[..., 1], surface(grid), 25, cmap="gray", linewidths=0.6)
    needed = {}
    for name, optimizer in OPTIMIZERS.items():
        path = run(optimizer)
        low = np.flatnonzero(surface(path) < -0.9)
        needed[name] = int(low[0]) if len(low) else -1
        print(f"{name:<9} {f'leaves the saddle, below -0.9 after {low[0]} steps' if len(low) else 'is still there'}")
        left.plot(*path.T, marker=".", markersize=3, label=name)
        right.plot(surface(path), label=name)
    left.set(title="SGD runs into the saddle at (0, 0), adaptive ones cut the corner", xlabel="x", ylabel="y")
    right.set(title="Height: the plateau at 0 is the saddle", xlabel="step", ylabel="f")
    right.legend()
    figure.savefig(folder / "optimizers.png", dpi=100)
    return needed


if __name__ == "__main__":
    main(Path(*sys.argv[1:]))
