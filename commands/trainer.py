"""The trainer of a command: loggers, callbacks that are always there, devices and processes."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    Callback,
    GradientAccumulationScheduler,
    ProgressBar,
    StochasticWeightAveraging,
)
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import callbacks
from callbacks.backbone_finetuning import ResumableFinetuning
from callbacks.gradient_accumulation import ResumableAccumulation
from callbacks.loggers.build import build_loggers
from callbacks.loggers.facts import Facts
from callbacks.loggers.fault_tolerant import fault_tolerant
from callbacks.progress import make_progress
from callbacks.run_directory import RunDirectory
from callbacks.stochastic_weight_averaging import AveragingAfterTraining
from callbacks.summary import Summary
from commands.cluster import share_out
from commands.explain.trainer import Trainer
from commands.processes import check_processes, prepare
from modules.contracts import ConfigError

OWN = {
    StochasticWeightAveraging: AveragingAfterTraining,
    GradientAccumulationScheduler: ResumableAccumulation,
    BackboneFinetuning: ResumableFinetuning,
}
"""Callbacks of Lightning that are replaced where they are asked for."""


def add_loggers(parser: LightningArgumentParser) -> None:
    """Add the settings of W&B, TensorBoard and MLflow."""
    parser.add_argument("--tensorboard", type=bool, default=False, help="log to TensorBoard, in the run directory")
    text = "log to MLflow: the server of MLFLOW_TRACKING_URI, else files in runs/mlflow"
    parser.add_argument("--mlflow", type=bool, default=False, help=text)
    parser.add_lightning_class_args(callbacks.WandbTracking, "wandb")


def build_trainer(parts: Namespace, summary: Summary, directory: RunDirectory, facts: Facts) -> Trainer:
    """Trainer of a command.

    Args:
        parts: the settings, with loggers and callbacks built.
        summary: of the command.
        directory: of the run, claimed.
        facts: about the command, for loggers.

    Raises:
        ConfigError: settings that cannot work here.
    """
    config = dict(parts.trainer.items(branches=False))
    own = config.pop("logger")
    loggers = [] if own is False else [own] if isinstance(own, Logger) else own if isinstance(own, list) else []
    folder = str(directory.path)
    if summary.command == "predict":
        loggers = [fault_tolerant(logger) for logger in loggers]
    else:
        loggers = build_loggers(folder, parts.tensorboard, own is not False, loggers, parts.mlflow, facts)
    speed, fits = callbacks.SpeedMonitor(), summary.command == "fit"
    always = [
        *([callbacks.LearningRateRangeTest()] if fits and parts.find_lr else []),
        *([callbacks.StopEarly(parts.early_stopping)] if fits and parts.early_stopping is not None else []),
        callbacks.RandomState(),
        speed,
        callbacks.OptimizerMonitor(),
        callbacks.TerminateOnNaN(),
        callbacks.Counts(),
        callbacks.Intervals(),
        parts.figures,
        parts.predictions,
        callbacks.LearningCurves(),
        parts.wandb,
        summary,
        parts.checkpoint,
    ]
    share_out(config, os.environ)
    if summary.command in ("evaluate", "explain") and config["devices"] == "auto":
        config["devices"] = 1
    given = config.pop("callbacks") or []
    config["default_root_dir"] = folder
    config["enable_model_summary"] = bool(config.get("enable_model_summary"))
    given = given if isinstance(given, list) else [given]
    given = [OWN[type(c)](c) if type(c) in OWN else c for c in given]
    if config.get("enable_progress_bar") is not False and not any(isinstance(c, ProgressBar) for c in given):
        always.append(make_progress(speed))
        config["enable_progress_bar"] = isinstance(always[-1], ProgressBar)
    _check_parts([*given, *always], config.get("profiler"))
    try:
        trainer = Trainer(**config, logger=loggers or False, callbacks=[directory, *given, *always])
    except (MisconfigurationException, ValueError, TypeError, ModuleNotFoundError) as error:
        asked = [f"{name} {config[name]}" for name in ("accelerator", "devices") if config[name] != "auto"]
        what = f" with {', '.join(asked)}" if asked else ""
        hint = " (accelerator auto and cpu work everywhere)" if asked else ""
        raise ConfigError(f"there is no such trainer{what}: {error}{hint}") from error
    check_processes(trainer)
    prepare(trainer)
    return trainer


def _check_parts(given: list[Callback], profiler: Any) -> None:
    _check_twice(given)
    _check_folders([*given, profiler])


def _check_folders(given: list[Any]) -> None:
    """Refuse a `dirpath`, as of ModelCheckpoint, that cannot be written; nothing is left there.

    Raises:
        ConfigError: names the class and the folder.
    """
    for one in given if not getattr(rank_zero_only, "rank", 0) else ():
        path = str(getattr(one, "dirpath", None) or "")
        if not path or "://" in path:  # on another machine
            continue
        missing = [folder for folder in (Path(path), *Path(path).parents) if not folder.exists()]
        try:
            Path(path).mkdir(parents=True, exist_ok=True)
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, "Permission denied")
        except OSError as error:
            raise ConfigError(
                f"trainer: {type(one).__name__}.dirpath is {path}, which cannot be written ({error.strerror}): choose "
                "another, or leave it out for the run directory"
            ) from error
        finally:
            for folder in missing:
                with suppress(OSError):
                    folder.rmdir()


def _check_twice(given: list[Callback]) -> None:
    """Refuse two callbacks whose states would share a key of the checkpoint, and two of one of ours.

    Raises:
        ConfigError: names the class.
    """
    keys = set()
    for callback in given:
        ours = type(callback).__module__.partition(".")[0] == "callbacks"
        if (ours or type(callback).state_dict is not Callback.state_dict) and callback.state_key in keys:
            raise ConfigError(f"trainer.callbacks: there are two {type(callback).__name__}, leave one out")
        keys.add(callback.state_key)
