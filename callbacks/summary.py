"""Startup summary and final report of a run: setup, results with their protocols, files, next commands."""

import json
import platform
import time
from collections.abc import Iterable
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from callbacks.loggers.facts import commit
from callbacks.results.metrics import Results, Rows, classifies, limited, told
from callbacks.results.number_format import or_null
from callbacks.results.table import results_table
from callbacks.terminal import print_line
from modules.backbones.lora import DOWN, UP
from modules.contracts import writing
from modules.heads.base import ClassificationHead

CONSOLE = Console(highlight=False)


class Summary(L.Callback):
    """Print a startup summary and a final report: results with their protocols, files and next commands.

    The results are also written to `results.json`.

    Args:
        name: name of the run's configuration.
        command: fit, validate, test, predict or evaluate.
        typed: the program and its arguments as typed.
        seed: of the run.
        precision_reason: reason for the trainer's precision.
    """

    def __init__(self, name: str, command: str, typed: list[str], seed: int | bool, precision_reason: str):
        self.name, self.command, self.typed, self.seed = name, command, typed, seed
        self.precision_reason = precision_reason
        self.results = Results(command)
        self.rows: list[dict[str, Any]] = []  # metric, value, protocol: of a command with protocols of its own
        self.began = time.monotonic()

    @rank_zero_only
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != self.command:
            return  # the test at the end of fit
        task, data = type(pl_module).__name__, trainer.datamodule
        networks: Any = pl_module.named_networks
        count = sum(p.numel() for p in {p for one in networks.values() for p in one.parameters()}) / 1e6
        print_line(f"{task} with {' and '.join(networks)} ({count:.2f} M parameters) on {type(data).__name__}")
        print_line(f"  {trainer.precision} on {trainer.strategy.root_device} ({self.precision_reason})")
        for line in data.input_notes if self.command != "fit" else ():
            print_line(f"  {line}")

    @rank_zero_only
    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data, folder = trainer.datamodule, trainer.default_root_dir
        lines = [*data.describe(), *_about_classes(trainer, pl_module)]
        lines += _input_size(data)
        for line in chain(lines, *told(trainer, "startup_lines")):
            print_line(f"  {line}")
        effective, each = pl_module.effective_batch_size, data.per_step * trainer.world_size
        parts = f"{data.per_step:,} x {trainer.world_size} device(s) x {effective // each} accumulated"
        rates = [
            f"{max(g.get('initial_lr', 0.0) for g in optimizer.param_groups):.3g}" for optimizer in trainer.optimizers
        ]
        print_line(f"  effective batch size {effective:,}{data.unit} = {parts}, learning rate {' and '.join(rates)}")
        for line in _trained(pl_module):
            print_line(f"  {line}")
        if trainer.limit_val_batches == 0:
            print_line("  no validation (trainer.limit_val_batches is 0): the last weights are the result")
        elif not data.has("val"):
            print_line(
                "  no validation set: the last weights are the result, not the best ones; add one, or set aside "
                "samples by --data.val_split"
            )
        if trainer.ckpt_path:
            print_line(f"  goes on from {trainer.ckpt_path}")
        print_line(f"  run directory {folder}")

    @rank_zero_only
    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data = trainer.datamodule
        counts = {split: len(data.dataset(split, "plain")) for split in ("train", "val", "test") if data.has(split)}
        chosen, noun = counts.pop(data.predicted), data.noun
        others = ", ".join(f"{count:,} {split}" for split, count in counts.items())
        noun = f"{data.predicted} {noun}" if others else noun
        batches, sampler = sum(trainer.num_predict_batches), trainer.predict_dataloaders.batch_sampler
        size = sampler.batch_size if sampler else 0  # without one, batches of similar lengths differ in size
        first = batches * trainer.world_size * size
        which = f"the {chosen:,} {noun}" if others else f"all {chosen:,} {noun}"
        if limited(trainer, "predict") and first < chosen:
            part = f"{first:,}" if first else f"{batches:,} batches"
            which = f"the first {part} of {chosen:,} {noun} (trainer.limit_predict_batches)"
        which += f"; not {others}" if others else ""
        print_line(f"  predicts {which}")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "validate":
            self.results.collect(trainer, "val")

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.results.collect(trainer, "test")

    def set_rows(self, rows: Rows) -> None:
        """Set the results of a command with protocols of its own, in place of the logged metrics."""
        self.rows = rows

    @rank_zero_only
    def print_results(self, trainer: L.Trainer, commands: Iterable[str] = ()) -> None:
        """Print and write the results, and print the next commands."""
        folder = Path(trainer.default_root_dir)
        rows, others = (self.rows, []) if self.rows else self.results.rows(trainer)
        list(told(trainer, "take_results", rows))
        lines = [line for each in told(trainer, "report_lines") for line in each]
        if rows or others:
            weights = f", {self.results.weights}" if self.results.weights else ""
            CONSOLE.print(results_table(rows + others, f"Results, seed {self.seed}{weights}"))
            self._write(folder, rows, others, [line for line in lines if isinstance(line, str)], trainer)
        elif self.command != "predict":
            made = getattr(trainer.lightning_module, "answered", False)  # by a file of a generator
            reason = "only callbacks measure what a file generates: add --trainer.callbacks+=GenerationMetrics"
            print_line(f"no results: {reason if made else 'there was neither a validation nor a test set'}")
        for line in lines:
            if isinstance(line, str):
                print_line(line)
            else:
                CONSOLE.print(line)
        data = trainer.datamodule
        if data.skipped:
            print_line(f"skipped {data.noun} that cannot be used: {len(data.skipped):,}, see {folder}/skipped.txt")
        if data.dropped:
            print_line(f"annotations left out: {len(data.dropped):,}, see {folder}/dropped.txt")
        self._say_where(trainer, folder)
        for line in commands:
            print_line(line)

    def _write(self, folder: Path, rows: Rows, others: Rows, notes: list[str], trainer: L.Trainer) -> None:
        path = folder / "results.json"
        packages = ("torch", "torchvision", "lightning", "timm", "albumentations", "scikit-learn")
        report = {
            "command": self.typed,
            "seed": self.seed,
            "monitor": trainer.lightning_module.monitor,
            "mode": trainer.lightning_module.mode,
            f"{'test' if self.command in ('fit', 'test') else 'evaluated'} weights": self.results.weights,
            "results": [row | {"value": or_null(row["value"])} for row in rows],
            "results of other weights": [row | {"value": or_null(row["value"])} for row in others],
            "notes": notes,
            **({"epochs": trainer.current_epoch} if self.command == "fit" else {}),
            "seconds": round(time.monotonic() - self.began, 1),
            "machine": f"{platform.processor() or platform.machine()}, {trainer.strategy.root_device}",
            "precision": trainer.precision,
            "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
            "commit": commit(),
        }
        with writing(path):
            path.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")

    def _say_where(self, trainer: L.Trainer, folder: Path) -> None:
        figures = sorted(p.name for p in (folder / "figures").glob("*.*"))
        if figures:
            print_line(f"figures: {folder}/figures/  ({', '.join(figures)})")
        if (folder / "features.npz").is_file():
            print_line(f"features, labels and ids of every split: {folder}/features.npz")
        if self.command == "fit":
            weights = [*folder.glob("*.safetensors"), *folder.glob("checkpoints/*.ckpt")]
            print_line(f"weights: {folder}/  ({', '.join(sorted(str(p.relative_to(folder)) for p in weights))})")
        self.say_loggers(trainer)

    @rank_zero_only
    def say_loggers(self, trainer: L.Trainer) -> None:
        """Print the advice of loggers that have some, such as the address of a W&B run."""
        for logger in trainer.loggers:
            advice = logger.advice() if hasattr(logger, "advice") else ""
            for line in (advice or "").splitlines():  # null of the logger that `fast_dev_run` puts in place of others
                print_line(line)


def _input_size(data: L.LightningDataModule) -> list[str]:
    """Height and width in which the network sees images or clips, where these are fixed."""
    side = getattr(data, "image_size", None)
    height, width = (side, side) if isinstance(side, int) else getattr(data, "target_size", None) or (0, 0)
    return [f"the network sees {height} x {width} pixels (--data.image_size)"] if height and width else []


def _trained(task: L.LightningModule) -> list[str]:
    """Number of trained parameters in all and by part, adapters by themselves, where not all are trained."""
    counts: dict[str, list[int]] = {}  # frozen and trained
    for name, parameter in task.named_parameters():
        part = "adapters" if name.endswith((DOWN, UP)) else name.partition(".")[0]
        counts.setdefault(part, [0, 0])[parameter.requires_grad] += parameter.numel()
    frozen, trained = (sum(column) for column in zip(*counts.values(), strict=True))
    if not frozen:
        return []
    parts = []
    for part, (kept, learning) in counts.items():
        said = [f"{learning:,}"] * (learning > 0) + [f"{kept:,} frozen"] * (kept > 0)
        parts.append(f"{part} {' and '.join(said)}")
    share = f"{trained / (trained + frozen):.1%}".replace("%", " %")
    return [f"{trained:,} of {trained + frozen:,} parameters are trained ({share}): {'; '.join(parts)}"]


def _about_classes(trainer: L.Trainer, task: L.LightningModule) -> list[str]:
    """The majority baseline and class imbalance, with its remedy where the head could weigh classes and does not."""
    if not classifies(task):
        return []
    head = getattr(task, "head", None)
    return trainer.datamodule.describe_classes(remedy=isinstance(head, ClassificationHead) and not head.weighted)
