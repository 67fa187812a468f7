"""Hogwild: processes that train one model in shared memory without a lock (Recht et al. 2011).

Each process reads the weights, computes a gradient, and subtracts it from the weights as they are by then: other
processes have changed them meanwhile, and now and then an update is lost. Stale gradients cost a little progress per
gradient, waiting for one another costs time. Here a softmax regression on the digits of scikit-learn takes the same
number of gradients three times: by plain SGD, by two processes that wait and take the mean, and by two that do not.

python examples/hogwild.py      writes hogwild.png
"""

import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, multiprocessing
from torch.nn import functional

BATCH, RATE, EVERY = 16, 0.5, 100
FORK = multiprocessing.get_context("fork")


class Shared(NamedTuple):
    """Memory that all processes see.

    Args:
        weights: (65, 10), of 64 pixels and a constant.
        gradients: (P, 65, 10), of the processes that wait.
        updates: a count with a lock of its own, because what is measured must not be lost; the weights have none.
        stale: (P, S), updates by others between the reading and the writing of each.
        curve: (S / EVERY + 1, 651), seconds and weights of the first process, now and then.
    """

    weights: Tensor
    gradients: Tensor
    updates: "multiprocessing.sharedctypes.Synchronized"
    stale: Tensor
    curve: Tensor


def digits() -> tuple[Tensor, Tensor]:
    """Images (1797, 65) of 8 x 8 pixels in 0..1 with a constant behind them, and their digits int64 (1797,)."""
    x, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    return torch.cat([x.float() / 16, torch.ones(len(x), 1)], 1), labels


def gradient(weights: Tensor, x: Tensor, labels: Tensor) -> Tensor:
    """Gradient (65, 10) of the mean cross-entropy at `weights`."""
    error = (x @ weights).softmax(1) - functional.one_hot(labels, weights.shape[1])
    return x.T @ error / len(x)


def draws(rank: int, x: Tensor, labels: Tensor) -> Callable[[], tuple[Tensor, Tensor]]:
    """The batches of a process, by its own random numbers."""
    random = torch.Generator().manual_seed(rank)

    def draw() -> tuple[Tensor, Tensor]:
        picked = torch.randint(len(x), (BATCH,), generator=random)
        return x[picked], labels[picked]

    return draw


def run_free(rank: int, shared: Shared, x: Tensor, labels: Tensor, barrier) -> None:
    """Take the steps of a process without waiting for any other."""
    draw, begun = draws(rank, x, labels), _start(barrier)
    for step in range(shared.stale.shape[1]):
        _note(rank, step, begun, shared)
        before = shared.updates.value
        found = gradient(shared.weights, *draw())
        shared.weights.add_(found, alpha=-RATE)
        with shared.updates.get_lock():
            shared.stale[rank, step] = shared.updates.value - before
            shared.updates.value += 1
    _note(rank, shared.stale.shape[1], begun, shared)


def run_together(rank: int, shared: Shared, x: Tensor, labels: Tensor, barrier) -> None:
    """Take the steps of a process that waits for all others, whose mean gradient the first one subtracts."""
    draw, begun = draws(rank, x, labels), _start(barrier)
    for step in range(shared.stale.shape[1]):
        _note(rank, step, begun, shared)
        shared.gradients[rank] = gradient(shared.weights, *draw())
        barrier.wait()
        if rank == 0:
            shared.weights.add_(shared.gradients.mean(0), alpha=-RATE)
        barrier.wait()
    _note(rank, shared.stale.shape[1], begun, shared)


def train(work: Callable[..., None], processes: int, gradients: int) -> Shared:
    """Compute so many gradients with `work` in so many processes."""
    steps = gradients // processes
    sizes = (65, 10), (processes, 65, 10), (steps // EVERY + 1, 651)
    weights, found, curve = (torch.zeros(size).share_memory_() for size in sizes)
    stale = torch.zeros(processes, steps, dtype=torch.int64).share_memory_()
    shared = Shared(weights, found, FORK.Value("q", 0), stale, curve)
    barrier, data = FORK.Barrier(processes), digits()
    workers = [FORK.Process(target=work, args=(rank, shared, *data, barrier)) for rank in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a process has failed")
    return shared


def loss(weights: Tensor, x: Tensor, labels: Tensor) -> float:
    """Mean cross-entropy over all images."""
    return functional.cross_entropy(x @ weights, labels).item()


def _start(barrier) -> float:
    torch.set_num_threads(1)
    barrier.wait()
    return perf_counter()


def _note(rank: int, step: int, begun: float, shared: Shared) -> None:
    if rank == 0 and step % EVERY == 0:
        shared.curve[step // EVERY] = torch.cat([torch.tensor([perf_counter() - begun]), shared.weights.flatten()])


def main(folder: Path, gradients: int = 8_000) -> dict[str, Shared]:
    """Train in the three ways, print and draw what came of it."""
    ways = {"plain SGD": (run_free, 1), "2 that wait": (run_together, 2), "2 of Hogwild": (run_free, 2)}
    figure, found, data = Figure((10, 4), layout="constrained"), {}, digits()
    left, right = figure.subplots(1, 2)
    print(f"{gradients:,} gradients    loss    seconds    updates by others meanwhile: mean, max")
    for name, (work, processes) in ways.items():
        found[name] = shared = train(work, processes, gradients)
        seconds, losses = shared.curve[:, 0], [loss(row[1:].view(65, 10), *data) for row in shared.curve]
        stale = f"{shared.stale.float().mean():10.2f}, {shared.stale.max()}" if work is run_free else ""
        print(f"{name:16}{loss(shared.weights, *data):10.4f}{seconds[-1]:11.2f}{stale}")
        left.plot(seconds, losses, label=name)
    stale = found["2 of Hogwild"].stale.flatten()
    right.hist(stale.clamp(max=20), bins=torch.arange(22) - 0.5)
    left.set(xlabel="seconds", ylabel="cross-entropy", yscale="log", title="The same number of gradients")
    right.set(xlabel="updates by the other meanwhile (20: and more)", ylabel="updates", yscale="log")
    right.set_title(f"Staleness: {stale.float().mean():.2f} on average, at most {stale.max()}")
    left.legend()
    figure.savefig(folder / "hogwild.png", dpi=80)
    return found


if __name__ == "__main__":
    main(Path(*sys.argv[1:]))
