"""Images per second of a task under our trainer against a plain PyTorch loop.

Ours is `cli.py fit` with the task's own YAML: its callbacks, its progress bar (drawn into memory), metrics.csv. W&B is
off. The plain loop has the same network, loss, optimizer, schedule, precision, memory format, threads and batches (in
memory, uint8), and does nothing but train; both start from the same weights, so their losses are the same. Counted are
the steps after the warm-up; validation, checkpoints and the network's construction lie outside.

Each task has two rows: images per second of the wall (the mark), and per second of the processor. On a machine that
others use too, threads wait for each other and both say little; `OMP_NUM_THREADS=1` and the second row say more.

With `--logging` the other side is the same command with metrics.csv alone, and ours logs to W&B (offline), TensorBoard
and MLflow too. Seconds of the processor include those of W&B's own processes.
"""

import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from math import isclose
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from benchmarks.batches import Batches
from benchmarks.precision import autocast, automatic
from benchmarks.report import Comparison, compare, in_pairs, parser
from commands.fit import CLI
from commands.silence import silence_messages
from modules.backbones import Timm
from modules.contracts import Batch
from modules.heads import Linear, Projection
from modules.heads.base import through
from modules.losses.contrastive import nt_xent
from modules.training.optim import Optim

MARK, LOGGING_MARK = ">= 0.95", ">= 0.98"
WARM_UP = 5
TASKS = Path(__file__).parents[1] / "tasks"


class Run(NamedTuple):
    """Seconds from the end of the warm-up's last step to the end of the last step, and the loss of the first step."""

    wall: float
    process: float
    loss: float


class Stopwatch(Callback):
    """Wall and processor time at the end of each step."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []
        self.losses: list[Tensor] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self.begin(batch_idx)

    @staticmethod
    def begin(batch_idx: int) -> None:
        """Seed torch before the first batch, so that both sides draw the same."""
        if batch_idx == 0:
            torch.manual_seed(0)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.note(outputs["loss"] if "loss" in outputs else outputs["discriminator_loss"])

    def note(self, loss: Tensor) -> None:
        if loss.is_cuda:
            torch.cuda.synchronize(loss.device)
        self.ends.append((time.perf_counter(), processor_seconds()))
        self.losses.append(loss.detach().clone())

    def run(self) -> Run:
        (wall, process), (last_wall, last_process) = self.ends[WARM_UP - 1], self.ends[-1]
        return Run(last_wall - wall, last_process - process, self.losses[0].item())


class Terminal(io.StringIO):
    """Terminal in memory: the progress bar draws as on a screen."""

    def isatty(self) -> bool:
        return True


class Network(nn.Module):
    """Backbone and head of a task's YAML, with its loss."""

    def __init__(self, task: str, settings: dict[str, Any]):
        super().__init__()
        self.backbone = Timm(settings["backbone"], small_images=settings.get("small_images", False))
        self.backbone.to(memory_format=torch.channels_last)
        self.contrastive, self.temperature = task == "simclr", settings.get("temperature")
        self.head = (
            Projection(self.backbone.features, 128, hidden=512)
            if self.contrastive
            else Linear(self.backbone.features, 10)
        )

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        outputs = through(self.backbone, self.head, image)
        return nt_xent(*outputs.chunk(2), self.temperature) if self.contrastive else self.head.loss(outputs, label)


def processor_seconds() -> float:
    """Processor time of this process and of those that it has started and that run still."""
    waiting, total = [os.getpid()], time.process_time()
    while waiting:
        for file in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):  # there are none outside of Linux
            with suppress(OSError):
                for child in map(int, file.read_text().split()):
                    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                    total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                    waiting.append(child)
    return total


def ours(
    task: str,
    data: dict[str, int],
    accelerator: str,
    extra: dict[str, str] = {},  # noqa: B006
    wandb: str = "disabled",
) -> Run:
    """The steps after the warm-up, under `cli.py fit` with some more arguments and W&B in this mode."""
    with TemporaryDirectory() as folder, surroundings(wandb, folder):
        typed = {
            "--config": f"{TASKS}/{task}.yaml",
            "--run_dir": f"{folder}/run",
            "--data": "benchmarks.batches.Batches",
            **{f"--data.{key}": str(value) for key, value in data.items()},
            "--trainer.max_epochs": "1",
            "--trainer.accelerator": accelerator,
            "--trainer.devices": "1",
            "--trainer.limit_val_batches": "0",
            "--trainer.callbacks+": "benchmarks.overhead.Stopwatch",
            **extra,
        }
        silence_messages()
        run = CLI(["fit", *(f"{name}={value}" for name, value in typed.items())])
    # by name: the command line imports this file a second time when it runs as __main__
    return next(c for c in run.trainer.callbacks if type(c).__name__ == "Stopwatch").run()


def plain(task: str, data: dict[str, int], accelerator: str) -> Run:
    """The same steps in a plain loop."""
    config = yaml.safe_load((TASKS / f"{task}.yaml").read_text())
    settings, device = config["model"]["init_args"], torch.device("cuda" if accelerator == "gpu" else "cpu")
    torch.manual_seed(0)  # as the YAML's run
    network = Network(task, settings).to(device).train()
    optimizer, schedule = Optim(**settings["optim"]).build(network, network.backbone.net, data["steps"])
    precision = automatic(accelerator)
    stopwatch = Stopwatch()
    for batch in Batches(**data).train_dataloader():
        image, label = (tensor.to(device, non_blocking=True) for tensor in inputs(batch))
        image = network.backbone.normalize(image)
        with autocast(precision, device):
            loss = network(image, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        stopwatch.note(loss)
    return stopwatch.run()


def inputs(batch: Batch) -> tuple[Tensor, Tensor]:
    """Images, all views in one tensor, and labels."""
    return torch.cat(batch["views"]) if "views" in batch else batch["image"], batch["label"]


@contextmanager
def surroundings(wandb: str = "disabled", folder: str = "") -> Iterator[None]:
    """Environment of a command of its own for `cli.py`: argv and variables are restored afterward, output discarded."""
    argv = sys.argv[:]
    variables = {"WANDB_MODE": wandb, "TERM": "xterm-256color"}
    variables |= {"MLFLOW_TRACKING_URI": f"{folder}/mlflow"} if folder else {}
    try:
        with patch.dict(os.environ, variables), redirect_stdout(Terminal()):
            yield
    finally:
        sys.argv[:] = argv


def measure(
    task: str, steps: int, batch_size: int | None, repeats: int, accelerator: str, logging: bool = False
) -> list[Comparison]:
    """Images per second of a task, in pairs, by the wall and by the process."""
    config = yaml.safe_load((TASKS / f"{task}.yaml").read_text())["data"]["init_args"]
    data = {key: config[key] for key in ("image_size", "views", "batch_size") if key in config}
    data |= {"steps": WARM_UP + steps, "batch_size": batch_size or data["batch_size"]}

    trackers, one = {"--tensorboard": "true", "--mlflow": "true"}, (task, data, accelerator)
    if logging:
        ours(*one, trackers, "offline")  # imports
        runs = in_pairs(lambda: ours(*one, trackers, "offline"), lambda: ours(*one), repeats)
    else:
        runs = in_pairs(lambda: ours(*one), lambda: plain(*one), repeats)
    losses = [run.loss for side in runs for run in side]
    if not isclose(min(losses), max(losses), rel_tol=1e-3):
        raise RuntimeError(f"{task}: the two sides do not train the same thing, their first losses are {losses}")
    images = steps * data["batch_size"]
    wall, process = ([[images / run[i] for run in side] for side in runs] for i in range(2))
    name = f"{task}, batch {data['batch_size']}"
    mark = LOGGING_MARK if logging else MARK
    return [Comparison(name, "images/s", *wall, mark), Comparison(name, "images/CPU s", *process)]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    both = ["classification", "simclr"]
    options.add_argument("--tasks", nargs="+", choices=both, default=both)
    options.add_argument("--steps", type=int, default=30, help="steps that count")
    options.add_argument("--repeats", type=int, default=5, help="pairs of runs")
    options.add_argument("--batch_size", type=int, help="images per step; default the YAML's")
    options.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    options.add_argument("--logging", action="store_true", help="all loggers against metrics.csv alone")
    args = options.parse_args(argv)
    rows = []
    for task in args.tasks:
        rows += measure(task, args.steps, args.batch_size, args.repeats, args.accelerator, args.logging)
    where = f"{torch.get_num_threads()} threads, {automatic(args.accelerator)} on {args.accelerator}"
    title = f"Training, {args.steps} steps after {WARM_UP}, {args.repeats} pairs, {where}"
    facts = {"steps": args.steps, "accelerator": args.accelerator, "precision": automatic(args.accelerator)}
    name, peer = ("overhead_logging", "metrics.csv alone") if args.logging else ("overhead", "plain loop")
    return compare(name, title, rows, peer, args.json, **facts)


if __name__ == "__main__":
    main()
