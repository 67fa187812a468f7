"""RNN and LSTM cells, forwards and backwards through time, and why the second was invented.

A recurrent network is one cell used at every step: state and input in, state out. Backwards, the gradient passes the
same matrix once per step, so it shrinks or grows like a power. The LSTM adds a second state whose way from step to step
is a multiplication by the forget gate, a number of its own choice near 1, and no matrix at all.

python examples/from_scratch/recurrent_cells.py
"""

from typing import NamedTuple

import numpy as np
from gradient_check import Array, report


class Cell(NamedTuple):
    """Weights of the input (G, D) and of the state (G, H), and bias (G,); G is H for an RNN and 4 H for an LSTM."""

    x: Array
    h: Array
    bias: Array


def initialize(inputs: int, hidden: int, gates: int, random: np.random.Generator, scale: float = 1.0) -> Cell:
    """Random weights of variance scale^2 / H; `gates` is 1 for an RNN and 4 for an LSTM."""
    sizes = ((gates * hidden, inputs), (gates * hidden, hidden), (gates * hidden,))
    return Cell(*(scale * random.normal(size=size) / np.sqrt(hidden) for size in sizes))


def rnn(x: Array, h: Array, cell: Cell) -> Array:
    """One step: input (D,) and state (H,) to the next state, tanh(Wx x + Wh h + b)."""
    return np.tanh(cell.x @ x + cell.h @ h + cell.bias)


def rnn_backward(upstream: Array, x: Array, h: Array, after: Array, cell: Cell) -> tuple[Array, Array, Cell]:
    """Gradients by input, state and weights, given that by the state `after` (H,)."""
    d_sum = upstream * (1 - after**2)
    return cell.x.T @ d_sum, cell.h.T @ d_sum, Cell(np.outer(d_sum, x), np.outer(d_sum, h), d_sum)


def gates_of(x: Array, h: Array, cell: Cell) -> Array:
    """Input gate, forget gate, candidate and output gate (4, H), in PyTorch's order."""
    sums = (cell.x @ x + cell.h @ h + cell.bias).reshape(4, -1)
    gates = 1 / (1 + np.exp(-sums))
    gates[2] = np.tanh(sums[2])
    return gates


def lstm(x: Array, h: Array, c: Array, cell: Cell) -> tuple[Array, Array]:
    """One step: input (D,), state h and memory c (H,) to the next h and c.

    The memory keeps what the forget gate f lets through and takes what the input gate i lets in: c' = f c + i g.
    """
    i, f, g, o = gates_of(x, h, cell)
    c = f * c + i * g
    return o * np.tanh(c), c


def lstm_backward(
    upstream: tuple[Array, Array], x: Array, h: Array, c: Array, cell: Cell
) -> tuple[Array, Array, Array, Cell]:
    """Gradients by input, h, c and weights, given those by the next h and c; the gates are computed again."""
    i, f, g, o = gates_of(x, h, cell)
    squashed = np.tanh(f * c + i * g)
    d_h, d_c = upstream
    d_c = d_c + d_h * o * (1 - squashed**2)
    slopes = np.stack([i * (1 - i), f * (1 - f), 1 - g**2, o * (1 - o)])
    d_sums = (np.stack([d_c * g, d_c * c, d_c * i, d_h * squashed]) * slopes).ravel()
    weights = Cell(np.outer(d_sums, x), np.outer(d_sums, h), d_sums)
    return cell.x.T @ d_sums, cell.h.T @ d_sums, d_c * f, weights


def reach(gates: int, steps: int, random: np.random.Generator, scale: float = 1.0) -> list[float]:
    """Norms of the gradient by the state 0, 1, ... steps ago, as a share of the last; an LSTM starts with f near 1."""
    hidden = 32
    cell, xs = initialize(8, hidden, gates, random, scale), 0.1 * random.normal(size=(steps, 8))
    cell.bias[hidden : 2 * hidden] += 4  # the forget gate's; of an RNN there is no such part
    states = [(np.zeros(hidden), np.zeros(hidden))]
    for x in xs:
        h, c = states[-1]
        states.append((rnn(x, h, cell), c) if gates == 1 else lstm(x, h, c, cell))
    d_h, d_c, norms = random.normal(size=hidden), np.zeros(hidden), []
    norms = [float(np.linalg.norm(d_h))]
    for x, (h, c), (after, _) in zip(xs[::-1], states[-2::-1], states[:0:-1], strict=True):
        if gates == 1:
            _, d_h, _ = rnn_backward(d_h, x, h, after, cell)
        else:
            _, d_h, d_c, _ = lstm_backward((d_h, d_c), x, h, c, cell)
        norms.append(float(np.hypot(np.linalg.norm(d_h), np.linalg.norm(d_c))))
    return [norm / norms[0] for norm in norms]


def main() -> None:
    """Check both cells, then print how far back each one's gradient reaches."""
    random = np.random.default_rng(0)
    x, h, c, u, v = (random.normal(size=size) for size in (3, 4, 4, 4, 4))
    cell = initialize(3, 4, 1, random)
    d_x, d_h, grads = rnn_backward(u, x, h, rnn(x, h, cell), cell)
    print("RNN")
    report(lambda: float(u @ rnn(x, h, cell)), {"x": (x, d_x), "h": (h, d_h), "Wh": (cell.h, grads.h)})
    cell = initialize(3, 4, 4, random)
    d_x, d_h, d_c, grads = lstm_backward((u, v), x, h, c, cell)
    print("LSTM")
    derived = {"x": (x, d_x), "h": (h, d_h), "c": (c, d_c), "Wh": (cell.h, grads.h), "bias": (cell.bias, grads.bias)}
    report(lambda: float(np.dot([*u, *v], np.concatenate(lstm(x, h, c, cell)))), derived)
    print("share of the gradient that is left, steps back:   1       10       30")
    cells = (("RNN, small weights", 1, 0.5), ("RNN, large weights", 1, 2.0), ("LSTM, small weights", 4, 0.5))
    for name, gates, scale in cells:
        norms = reach(gates, 30, random, scale)
        print(f"  {name:<45} {norms[1]:8.1e} {norms[10]:8.1e} {norms[30]:8.1e}")


if __name__ == "__main__":
    main()
