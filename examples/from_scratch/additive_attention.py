"""Additive attention (Bahdanau et al. 2015): a small network says how well a query and a key match.

Dot products need queries and keys of one width. Here both are projected, added, squashed and weighed:
score = v . tanh(Wq q + Wk k). The rest is as ever: softmax over the keys, then the weighted mean of the values.

python examples/from_scratch/additive_attention.py
"""

from typing import NamedTuple

import numpy as np
from gradient_check import Array, report


class Weights(NamedTuple):
    """Projections of queries (H, Dq) and keys (H, Dk), and the direction v (H,) of their sum."""

    query: Array
    key: Array
    v: Array


def initialize(queries: int, keys: int, hidden: int, random: np.random.Generator) -> Weights:
    """Random weights for queries and keys of these widths, of variance 1 / fan-in."""
    sizes = ((hidden, queries), (hidden, keys), (hidden,))
    return Weights(*(random.normal(size=size) / np.sqrt(size[-1]) for size in sizes))


def attend(
    query: Array, keys: Array, values: Array, weights: Weights, length: int | None = None
) -> tuple[Array, Array, Array]:
    """Query (Dq,), keys (L, Dk), values (L, Dv) to the context (Dv,), the attention (L,) and tanh's output (L, H).

    Args:
        length: keys that are real; padding behind them gets an attention of exactly 0.
    """
    features = np.tanh(keys @ weights.key.T + weights.query @ query)
    scores = features @ weights.v
    if length is not None:
        scores[length:] = -np.inf
    attention = np.exp(scores - scores.max())
    attention /= attention.sum()
    return attention @ values, attention, features


def backward(
    upstream: Array, query: Array, keys: Array, values: Array, weights: Weights, attention: Array, features: Array
) -> tuple[Array, Array, Array, Weights]:
    """Gradients by query, keys, values and weights, given that by the context (Dv,)."""
    d_values = np.outer(attention, upstream)
    d_attention = values @ upstream
    # Through the softmax: a score gains only where its value beats the mean of all
    d_scores = attention * (d_attention - attention @ d_attention)
    d_sum = np.outer(d_scores, weights.v) * (1 - features**2)  # tanh' = 1 - tanh^2
    d_weights = Weights(np.outer(d_sum.sum(0), query), d_sum.T @ keys, features.T @ d_scores)
    return weights.query.T @ d_sum.sum(0), d_sum @ weights.key, d_values, d_weights


def lookup(random: np.random.Generator, size: int = 5) -> tuple[Array, Array, Array, Array]:
    """A dictionary to be looked up: one-hot query and keys, values (size, 3), and the value behind the query's key."""
    keys, values = np.eye(size)[random.permutation(size)], random.normal(size=(size, 3))
    asked = random.integers(size)
    return keys[asked], keys, values, values[asked]


def main() -> list[float]:
    """Check the gradients, then learn to look up a key; returns the attention to the right key at each step, 0..1."""
    random = np.random.default_rng(0)
    query, keys, values, upstream = (random.normal(size=size) for size in (3, (6, 4), (6, 2), 2))
    weights = initialize(3, 4, 8, random)
    _, attention, features = attend(query, keys, values, weights, 4)
    print("attention over 6 keys of which 2 are padding:", attention.round(3))
    d_query, d_keys, d_values, d_weights = backward(upstream, query, keys, values, weights, attention, features)
    derived = {"query": (query, d_query), "keys": (keys, d_keys), "values": (values, d_values)}
    derived |= {f"W {name}": (getattr(weights, name), getattr(d_weights, name)) for name in Weights._fields}
    report(lambda: float(upstream @ attend(query, keys, values, weights, 4)[0]), derived)

    weights, seen = initialize(5, 5, 32, random), []
    for step in range(2401):
        query, keys, values, wanted = lookup(random)
        context, attention, features = attend(query, keys, values, weights)
        *_, gradients = backward(2 * (context - wanted), query, keys, values, weights, attention, features)
        for array, gradient in zip(weights, gradients, strict=True):
            array -= 0.02 * gradient
        seen.append(float(attention @ (keys @ query)))
        if step % 600 == 0:
            print(f"step {step:>4}: mean attention to the key that was asked for {np.mean(seen[-100:]):.2f}")
    return seen


if __name__ == "__main__":
    main()
