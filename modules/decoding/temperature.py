"""Temperature scaling of probabilities (Guo et al. 2017)."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import Tensor

LEAST = 1e-12
RANGE = 0.05, 20.0
"""Lowest and highest temperature."""


def scaled(scores: Tensor, temperature: float) -> Tensor:
    """Probabilities (B, C) of which the logarithms are divided by a temperature; above 1 they become less sure."""
    return scores if temperature == 1 else (scores.clamp(min=LEAST).log() / temperature).softmax(1)


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """Temperature with the least cross-entropy of the true classes, 0.05..20.

    Args:
        scores: probabilities (N, C).
        labels: int64 (N,).
    """
    logs = np.log(np.maximum(scores.astype(np.float64), LEAST))
    rows = np.arange(len(labels))

    def loss(inverse: float) -> float:
        one = logs * inverse
        return float(np.mean(logsumexp(one, 1) - one[rows, labels]))

    return float(1 / minimize_scalar(loss, bounds=(1 / RANGE[1], 1 / RANGE[0]), method="bounded").x)
