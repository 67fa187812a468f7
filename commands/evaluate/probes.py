"""Metrics of extracted features with labels: linear probes and k-means clusters. Pure functions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, normalize

STRENGTHS = tuple(10.0**e for e in range(-5, 3))  # of C, the weakest penalty last
STEPS = 1000  # of L-BFGS at most


class Scale(NamedTuple):
    """Standardization: mean and standard deviation of each dimension, (D,) each."""

    mean: Tensor
    std: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Features (N, D) standardized; dimensions that never change become 0."""
        return (features - self.mean) / self.std


class Probe(NamedTuple):
    """A linear classifier of features.

    Args:
        weight: (C, D).
        bias: (C,).
        steps: of the solver.
    """

    weight: Tensor
    bias: Tensor
    steps: int

    def __call__(self, features: Tensor) -> Tensor:
        """Features (N, D) to classes int64 (N,)."""
        return linear(features, self.weight, self.bias).argmax(1)


def scale(features: Tensor) -> Scale:
    """Mean and standard deviation of features (N, D); infinite where a dimension never changes."""
    std, mean = torch.std_mean(features, dim=0, correction=0)
    return Scale(mean, torch.where(std > 1e-6 * std.max(), std, torch.inf))


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Accuracy, 0..1, of predicted classes (N,) against labels (N,)."""
    return (predicted == labels).double().mean().item()


def fit_linear(features: Tensor, labels: Tensor, classes: int, c: float) -> Probe:
    """Multinomial logistic regression, by L-BFGS until the gradient is below 1e-5 or nothing moves in float32.

    Args:
        features: (N, D), best standardized.
        labels: int64 (N,), 0..classes-1.
        classes: number of classes C.
        c: inverse strength of the L2 penalty on the weights, as in scikit-learn: c * sum of losses + |W|^2 / 2.
    """
    weight = features.new_zeros(classes, features.shape[1], requires_grad=True)
    bias = features.new_zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=STEPS, max_eval=2 * STEPS, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        solver.zero_grad()
        loss = cross_entropy(linear(features, weight, bias), labels)
        loss = loss + weight.square().sum() / (2 * c * len(labels))
        loss.backward()
        return loss

    with _exact(), torch.enable_grad():
        solver.step(objective)
    return Probe(weight.detach(), bias.detach(), solver.state[weight]["n_iter"])


def choose_c(
    train: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor], classes: int, strengths: Sequence[float] = STRENGTHS
) -> float:
    """C of the highest accuracy on `held` of a probe fitted to `train` (features, labels); the smallest of equals."""
    return max(strengths, key=lambda c: accuracy(fit_linear(*train, classes, c)(held[0]), held[1]))


def fit_sgd(
    features: Tensor, labels: Tensor, classes: int, epochs: int, lr: float, seed: int, batch: int = 256
) -> Probe:
    """The same classifier by a fixed recipe: SGD with momentum 0.9, no penalty, the rate falling along a cosine.

    Args:
        features: (N, D), standardized.
        labels: int64 (N,), 0..classes-1.
        classes: number of classes C.
        epochs: over all samples.
        lr: the first learning rate.
        seed: of the order of the samples.
        batch: samples per step; the last batch of an epoch may be smaller.
    """
    weight = features.new_zeros(classes, features.shape[1], requires_grad=True)
    bias = features.new_zeros(classes, requires_grad=True)
    optimizer = torch.optim.SGD([weight, bias], lr=lr, momentum=0.9)
    steps = epochs * -(-len(labels) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        for _ in range(epochs):
            for chosen in torch.randperm(len(labels), generator=generator).to(labels.device).split(batch):
                optimizer.zero_grad()
                cross_entropy(linear(features[chosen], weight, bias), labels[chosen]).backward()
                optimizer.step()
                schedule.step()
    return Probe(weight.detach(), bias.detach(), steps)


def clusters(features: Tensor, labels: Tensor, classes: int, seed: int, starts: int = 10) -> tuple[np.ndarray, float]:
    """k-means with one cluster per class on L2-normalized features (N, D).

    Returns:
        the class of each sample's cluster, int64 (N,), clusters and classes matched one to one so that most agree
        (Hungarian method); and the normalized mutual information 0..1 of clusters and labels (arithmetic mean).
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score

    points, truth = normalize(features, dim=1).cpu().numpy(), labels.cpu().numpy()
    found = KMeans(min(classes, len(points)), n_init=starts, random_state=seed).fit_predict(points)
    counts = np.zeros((classes, classes), np.int64)  # clusters by classes
    np.add.at(counts, (found, truth), 1)
    _, match = linear_sum_assignment(counts, maximize=True)
    return match[found], float(normalized_mutual_info_score(truth, found))


@contextmanager
def _exact() -> Iterator[None]:
    """Full float32 products: in TF32 the solver would stop where rounding begins, well before convergence."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
