"""Batch normalization by hand: statistics of the batch in training, remembered ones afterwards.

Each feature is shifted and scaled to mean 0 and standard deviation 1 over the batch, then a learned scale (gamma) and
shift (beta) give the layer back the choice. The answer to one sample therefore depends on its neighbors in the batch,
and so does its gradient: this is the part of the derivation that people forget.

python examples/from_scratch/batch_norm.py
"""

from typing import NamedTuple

import numpy as np
from gradient_check import Array, report

EPS = 1e-5  # keeps a feature that never changes from a division by 0


class Remembered(NamedTuple):
    """Statistics (D,) for later: moving averages of the batches' means and variances."""

    mean: Array
    variance: Array


def train(
    x: Array, gamma: Array, beta: Array, before: Remembered, momentum: float = 0.1
) -> tuple[Array, Array, Remembered]:
    """Normalize a batch x (N, D) by itself; returns output, x normalized (for `backward`) and new statistics.

    The batch is divided by its own (biased) deviation; what is remembered is the unbiased variance, with N - 1, because
    it stands for images yet to come.
    """
    mean, variance = x.mean(0), x.var(0)
    normalized = (x - mean) / np.sqrt(variance + EPS)
    unbiased = variance * len(x) / (len(x) - 1)
    after = Remembered(
        (1 - momentum) * before.mean + momentum * mean, (1 - momentum) * before.variance + momentum * unbiased
    )
    return gamma * normalized + beta, normalized, after


def evaluate(x: Array, gamma: Array, beta: Array, known: Remembered) -> Array:
    """Normalize by remembered statistics: each sample by itself, a fixed scale and shift."""
    return gamma * (x - known.mean) / np.sqrt(known.variance + EPS) + beta


def backward(upstream: Array, x: Array, normalized: Array, gamma: Array) -> tuple[Array, Array, Array]:
    """Gradients by x, gamma and beta, given that by the output (N, D).

    Three ways lead from x to the output: directly, through the mean, and through the variance. Along the mean the
    average of the upstream is taken away, along the variance its part that points along the normalized x: nothing of
    the gradient is left that would only shift or stretch the batch, since the layer undoes both.
    """
    d_gamma, d_beta = (upstream * normalized).sum(0), upstream.sum(0)
    direct = gamma * upstream
    left = direct - direct.mean(0) - normalized * (direct * normalized).mean(0)
    return left / np.sqrt(x.var(0) + EPS), d_gamma, d_beta


def main() -> None:
    """Normalize one batch, check its gradients, and let the statistics settle over many."""
    random = np.random.default_rng(0)
    center, spread = np.array([5.0, -2.0, 0.0]), np.array([3.0, 0.1, 1.0])
    gamma, beta, start = np.ones(3), np.zeros(3), Remembered(np.zeros(3), np.ones(3))
    x = random.normal(center, spread, (16, 3))
    out, normalized, known = train(x, gamma, beta, start)
    print("before:", "mean", x.mean(0).round(2), "deviation", x.std(0).round(2))
    print("after: ", "mean", np.abs(out.mean(0)).round(2), "deviation", out.std(0).round(2))

    gamma, beta = random.normal(size=3), random.normal(size=3)
    upstream = random.normal(size=x.shape)
    d_x, d_gamma, d_beta = backward(upstream, x, normalized, gamma)
    derived = {"x": (x, d_x), "gamma": (gamma, d_gamma), "beta": (beta, d_beta)}
    report(lambda: float((upstream * train(x, gamma, beta, start)[0]).sum()), derived)
    print(
        f"sum of the gradient over the batch: {np.abs(d_x.sum(0)).max():.0e}, since a shift of the batch does nothing"
    )

    for step in range(1, 101):
        *_, known = train(random.normal(center, spread, (16, 3)), gamma, beta, known)
        if step in (1, 10, 100):
            print(f"remembered after {step:>3} batches: mean {known.mean.round(2)}, variance {known.variance.round(2)}")


if __name__ == "__main__":
    main()
