"""Common parts of the benchmarks of supervised tasks: training speed beside a peer, and metrics of `cli.py fit`."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.overhead import surroundings
from benchmarks.precision import autocast, automatic
from benchmarks.report import Comparison, compare, in_pairs, parser
from callbacks.speed_monitor import SpeedMonitor
from commands.fit import CLI
from commands.silence import silence_messages

TASKS = Path(__file__).parents[1] / "tasks"
MARK = ">= 1.0"
WARM_UP = 2
Size = tuple[int, int]


def fitted(task: str, typed: dict[str, Any], options: Sequence[str] = ()) -> dict[str, float]:
    """Metrics of one training with tasks/TASK.yaml, its duration `seconds` and its `samples_per_sec`.

    Args:
        task: file name in tasks/, without its ending.
        typed: arguments of the command line.
        options: more of them, as typed.
    """
    with TemporaryDirectory() as folder, surroundings():
        words = [f"{name}={value}" for name, value in typed.items()]
        silence_messages()
        run = CLI(["fit", f"--config={TASKS / task}.yaml", *words, f"--run_dir={folder}/run", *options])
        results = json.loads(Path(folder, "run", "results.json").read_text())
    speed = next(callback for callback in run.trainer.callbacks if isinstance(callback, SpeedMonitor))
    metrics = {row["metric"]: row["value"] for row in results["results"]}
    return metrics | {"seconds": results["seconds"], "samples_per_sec": speed.samples_per_sec}


def rate(network: nn.Module, loss: Callable[[nn.Module], Tensor], images: int, steps: int) -> float:
    """Images per second of training steps in the precision that `cli.py` chooses here, and channels_last.

    Args:
        network: trained in place.
        loss: of the network on a batch that is always the same.
        images: in the batch.
        steps: that count.
    """
    network = network.train().to(memory_format=torch.channels_last)
    optimizer, precision = torch.optim.AdamW(network.parameters(), 1e-4, fused=True), automatic()
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            began = time.perf_counter()
        with autocast(precision):
            value = loss(network)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return images * steps / (time.perf_counter() - began)


def run(
    argv: list[str] | None,
    description: str,
    name: str,
    network: str,
    peer: str,
    rates: tuple[Callable[[Size, int, int], float], Callable[[Size, int, int], float]],
    trained: Callable[[Path, Size, int, int, list[str]], dict[str, float]],
    size: Size,
    batch_size: int,
    epochs: int,
) -> dict[str, Any]:
    """Measure training speed beside a peer and, with `--root`, the quality of a training.

    Args:
        argv: typed options.
        description: of the benchmark.
        name: of the benchmark and its file.
        network: name of the architecture, for the table.
        peer: name of the library that the other network is from.
        rates: images per second of ours and of the peer's, from size, batch size and steps.
        trained: metrics, from folder, size, epochs, seed and further options of `cli.py fit`.
        size: height and width in pixels, unless typed.
        batch_size: of the measured steps, unless typed.
        epochs: of the training, unless typed.
    """
    options = parser(description)
    options.add_argument("--root", type=Path, help="folder of the data set; without it only the speed is measured")
    options.add_argument("--size", type=int, nargs=2, default=size, help="height and width in pixels")
    options.add_argument("--batch_size", type=int, default=batch_size)
    options.add_argument("--steps", type=int, default=10, help="steps that count")
    options.add_argument("--repeats", type=int, default=3, help="pairs of runs")
    options.add_argument("--epochs", type=int, default=epochs, help="epochs of the training")
    options.add_argument("--seed", type=int, default=0)
    args, typed = options.parse_known_args(argv)
    size, step = tuple(args.size), (tuple(args.size), args.batch_size, args.steps)
    found = in_pairs(lambda: rates[0](*step), lambda: rates[1](*step), args.repeats)
    what = f"{network}, {size[0]} x {size[1]}, batch {args.batch_size}"
    metrics = trained(args.root.resolve(), size, args.epochs, args.seed, typed) if args.root else {}
    for metric, value in metrics.items():
        print(f"{metric}: {value:.4g}")
    rows = [Comparison(what, "images/s", *found, MARK)]
    title = f"{name.capitalize()}, training steps, {args.repeats} pairs, {automatic()}"
    facts = {"steps": args.steps, "precision": automatic(), "trained": metrics}
    return compare(name, title, rows, peer, args.json, **facts)
