"""Backpropagation through a graph of scalars, of vectors and of matrices.

Every node does two things. Forwards it computes its output and remembers what it will need. Backwards it receives one
thing, the derivative of the loss by its output ("upstream"), and passes on upstream times its own local derivative.
No node knows the network around it. For the gradient of a value that is used twice, what both uses send back is added.

python examples/from_scratch/backpropagation.py
"""

import numpy as np
from gradient_check import Array, report


def scalars(a: float, b: float, c: float, d: float) -> tuple[float, tuple[float, float, float, float]]:
    """f = (a b + max(c, d))^2 + a, node by node; returns f and its derivatives by a, b, c and d.

    Read the backward half as rules: a sum hands the upstream to both sides, a product hands each side the upstream
    times the *other* side, a maximum hands all of it to the larger one and nothing to the smaller.
    """
    product = a * b
    larger = max(c, d)
    total = product + larger
    square = total * total
    f = square + a

    d_square, d_a = 1.0, 1.0  # f = square + a: the sum hands 1 to both; this is only the first share of a
    d_total = 2 * total * d_square
    d_product, d_larger = d_total, d_total
    d_c, d_d = (d_larger, 0.0) if c > d else (0.0, d_larger)
    d_b = a * d_product
    d_a += b * d_product  # a was used twice: add, do not overwrite
    return f, (d_a, d_b, d_c, d_d)


def vectors(x: Array, weight: Array) -> tuple[float, tuple[Array, Array]]:
    """f = |relu(W x)|^2 of a vector x (D,) and W (H, D); returns f and its gradients (D,), (H, D).

    The local derivative of a vector by a vector is a Jacobian. That of ReLU is a diagonal of ones and zeros, so nobody
    builds it: multiplying by it is a mask. That of W x by x is W itself, and upstream times it is W^T upstream.
    """
    hidden = weight @ x
    active = np.maximum(hidden, 0)
    f = float(active @ active)

    d_active = 2 * active
    d_hidden = d_active * (hidden > 0)
    d_x = weight.T @ d_hidden
    d_weight = np.outer(d_hidden, x)  # W[i, j] meets x[j] on its way to hidden[i], and nothing else
    return f, (d_x, d_weight)


def matrices(x: Array, weight: Array, upstream: Array) -> tuple[Array, tuple[Array, Array]]:
    """Y = X W for a batch X (N, D) and W (D, M); returns Y (N, M) and the gradients by X and W, given that by Y.

    The Jacobian of Y by X has N M x N D numbers, almost all 0. The shapes alone leave one way to write the answer:
    (N, M) and (D, M) make (N, D) only as upstream W^T, and (N, D) and (N, M) make (D, M) only as X^T upstream.
    The second sums over the batch, because all its rows use the same W.
    """
    return x @ weight, (upstream @ weight.T, x.T @ upstream)


def main() -> None:
    """Run all three, each against measured slopes."""
    random = np.random.default_rng(0)
    values = np.array([3.0, -1.0, 5.0, 4.0])
    f, derivatives = scalars(*values)
    print(f"scalars: a, b, c, d = {values.tolist()} give f = {f:g}")
    print(f"  derivatives {[float(d) for d in derivatives]}: d is not the larger one, so it has no influence")
    report(lambda: scalars(*values)[0], {"a, b, c, d": (values, np.array(derivatives))})

    x, weight = random.normal(size=4), random.normal(size=(3, 4))
    f, (d_x, d_weight) = vectors(x, weight)
    print(f"vectors: f = {f:.3f}")
    report(lambda: vectors(x, weight)[0], {"x": (x, d_x), "W": (weight, d_weight)})

    batch, weight, upstream = random.normal(size=(5, 4)), random.normal(size=(4, 3)), random.normal(size=(5, 3))
    _, (d_batch, d_weight) = matrices(batch, weight, upstream)
    print(f"matrices: a Jacobian of {5 * 3} x {5 * 4} numbers that is never made")
    report(
        lambda: float((upstream * matrices(batch, weight, upstream)[0]).sum()),
        {"X": (batch, d_batch), "W": (weight, d_weight)},
    )


if __name__ == "__main__":
    main()
