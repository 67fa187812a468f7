"""Attention as kernel regression: Nadaraya and Watson's estimator of 1964, with a width that is learned.

A query asks for a value at a place where there is no data. Each key says where a value was seen; the answer is the mean
of all values, weighted by how near their keys are. With a Gaussian kernel of width 1 / w the weights are
softmax(-(w (q - k))^2 / 2). Multiply out: -q^2 / 2 is the same for all keys and cancels, q k is a dot product. So with
keys of equal length this *is* dot-product attention, and w^2 is its inverse temperature.

python examples/from_scratch/kernel_attention.py      writes kernel_attention.png
"""

import sys
from pathlib import Path

import numpy as np
from gradient_check import Array, report


def attend(queries: Array, keys: Array, values: Array, width: float, hidden: Array | None = None) -> tuple[Array, ...]:
    """Queries (Q,), keys (K,) and values (K,) to answers (Q,), weights (Q, K) and squared distances (Q, K).

    Args:
        width: w, the inverse width of the kernel; 0 weighs all values alike.
        hidden: bool (Q, K), keys that a query must not see.
    """
    squared = (queries[:, None] - keys) ** 2
    scores = -(width**2) * squared / 2
    scores = scores if hidden is None else np.where(hidden, -np.inf, scores)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    return weights @ values, weights, squared


def loss_and_gradient(width: float, x: Array, y: Array) -> tuple[float, float]:
    """Mean squared error of each point predicted from the others, and its derivative by the width.

    Each point must be hidden from itself: the best kernel would else be infinitely narrow, and remember the noise.
    """
    answers, weights, squared = attend(x, x, y, width, np.eye(len(x), dtype=bool))
    error = answers - y
    d_answers = 2 * error / len(y)
    d_weights = d_answers[:, None] * y
    d_scores = weights * (d_weights - (weights * d_weights).sum(1, keepdims=True))  # through the softmax
    return float((error**2).mean()), float((d_scores * -width * squared).sum())


def fit(x: Array, y: Array, width: float = 1.0, steps: int = 300, rate: float = 2.0) -> float:
    """The width after gradient descent on the error of leaving one out."""
    for _ in range(steps):
        width -= rate * loss_and_gradient(width, x, y)[1]
    return width


def curve(x: Array) -> Array:
    """The function behind the data."""
    return np.sin(2 * x) + 0.4 * x


def main(folder: Path = Path()) -> dict[str, float]:
    """Compare mean, fixed and learned kernel against the true curve; returns their mean squared errors."""
    from matplotlib.figure import Figure

    random = np.random.default_rng(0)
    x = np.sort(random.uniform(0, 6, 60))
    y = curve(x) + random.normal(0, 0.25, len(x))
    width, queries = np.array([1.0]), np.linspace(0, 6, 121)
    derived = np.array([loss_and_gradient(1.0, x, y)[1]])
    report(lambda: loss_and_gradient(float(width[0]), x, y)[0], {"width": (width, derived)})

    learned, errors = fit(x, y), {}
    figure = Figure((11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.scatter(x, y, 12, "gray", label="data: keys and values")
    left.plot(queries, curve(queries), "k--", label="truth")
    for name, w in {"mean of all (w = 0)": 0.0, "w = 1": 1.0, f"learned (w = {learned:.1f})": learned}.items():
        answers, weights, _ = attend(queries, x, y, w)
        errors[name] = float(((answers - curve(queries)) ** 2).mean())
        print(f"{name:<22} mean squared error {errors[name]:.4f}")
        left.plot(queries, answers, label=name)
    left.legend()
    shown = right.imshow(weights, aspect="auto", extent=(0, len(x), 6, 0))
    right.set(xlabel="key", ylabel="query", title="weights of the learned kernel: each query looks at its neighbors")
    figure.colorbar(shown)
    figure.savefig(folder / "kernel_attention.png", dpi=100)
    return errors


if __name__ == "__main__":
    main(Path(*sys.argv[1:]))
