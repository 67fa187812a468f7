"""Options of the training beside the trainer's: early stopping, and the learning-rate finder."""

from typing import Any, cast

from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn

from callbacks.range_test import LearningRateRangeTest
from commands.given_settings import typed_names
from commands.trained import Trained
from commands.without_effect import without_effect
from modules.contracts import ConfigError, check_range
from tasks import Task, VisionTask

OFF = {"early_stopping": None, "find_lr": False}
"""Options of the training, and their values without an effect."""


def add_training_options(parser: ArgumentParser) -> None:
    """Add --early_stopping and --find_lr."""
    text = "stop after this many validations without a better value of the task's monitor, such as 5; null is never"
    parser.add_argument("--early_stopping", type=int | None, default=None, help=text)
    text = "find the learning rate by a range test before the training (figures/lr_finder.png), and train with it"
    parser.add_argument("--find_lr", type=bool, default=False, help=text)


def check_training_options(
    command: str, settings: Namespace, typed: list[str], trained: Trained | None, before: dict[str, Any]
) -> None:
    """Refuse or name options that do not count; a resumed run whose rate was found keeps it, unless another is typed.

    Args:
        command: such as fit.
        settings: of the command, which are changed.
        typed: words of the command line.
        trained: the checkpoint; null without one.
        before: settings of the run that is resumed; empty for others.

    Raises:
        ConfigError: names the options.
    """
    names = typed_names(typed)
    for name in OFF if command != "fit" else ():
        if name in names and settings[name] != OFF[name]:
            raise ConfigError(
                f"{name} is {str(settings[name]).lower()}, but {command} trains nothing: leave --{name} out"
            )
    for sentence in without_effect(settings, typed) if command == "fit" else ():
        rank_zero_warn(sentence)
    typed_rate = "model.optim.lr" in names
    if settings.find_lr and command == "fit":
        if typed_rate:
            raise ConfigError("find_lr is true, but --model.optim.lr is typed too: leave one of them out")
        if settings.trainer.fast_dev_run:
            raise ConfigError("find_lr is true, but trainer.fast_dev_run takes a step or a few: leave one of them out")
        if before and trained and not trained.lr_searched:
            raise ConfigError(
                f"find_lr tests rates before the first step, but {trained.path} has taken steps without: leave it out"
            )
    if before and trained and trained.lr_searched and not typed_rate:
        keep_rate(settings, _rate(before))


def check_task(task: Task, settings: Namespace, before: dict[str, Any]) -> None:
    """Refuse what does not go with the task: a learning-rate finder for two optimizers, callbacks of Lightning's.

    Args:
        task: to train.
        settings: of the command.
        before: settings of the run that is resumed; empty for others.

    Raises:
        ConfigError: names the option or the callback, and what to do.
    """
    if isinstance(task, VisionTask):
        task.check_fit()
    given = settings.trainer.callbacks or []
    given = {one.class_path.rpartition(".")[2]: one for one in (given if isinstance(given, list) else [given])}
    if "BackboneFinetuning" in given and isinstance(task, VisionTask) and task.lora.rank:
        raise ConfigError(
            "trainer.callbacks: BackboneFinetuning unfreezes the whole backbone, but model.lora trains adapters in its "
            "place: leave one of them out"
        )
    finder = "trainer.callbacks: LearningRateFinder" if "LearningRateFinder" in given else ""
    if finder and settings.find_lr:
        raise ConfigError(f"find_lr is true beside {finder}: leave one of them out")
    if not task.automatic_optimization and (finder := finder or "find_lr" * settings.find_lr):
        raise ConfigError(
            f"{finder} finds the rate of one optimizer, but {type(task).__name__} has two, whose losses do not tell a "
            "good one: leave it out, and set model.optim.lr and model.discriminator_optim.lr"
        )
    if finder and before:
        raise ConfigError(
            f"{finder} tests rates before the first step, but this run goes on from a checkpoint: leave it out and "
            f"type --model.optim.lr {_rate(before)}, the rate that it found"
        )
    pruning, strided = given.get("ModelPruning"), any(not p.is_contiguous() for p in task.parameters())
    if pruning and pruning.init_args.use_global_unstructured and strided:  # channels last
        raise ConfigError(
            "trainer.callbacks: ModelPruning.use_global_unstructured is true, but torch does not rank the weights of "
            "several layers in the memory format that images take here: set it to false"
        )
    if unfrozen := given.get("BackboneFinetuning"):
        least = "trainer.callbacks: BackboneFinetuning.unfreeze_backbone_at_epoch"
        check_range(least, unfrozen.init_args.unfreeze_backbone_at_epoch)
    if (stop := given.get("EarlyStopping")) and stop.init_args.monitor == task.monitor:
        better, mode = "higher" if task.mode == "max" else "lower", stop.init_args.mode
        if mode != task.mode:
            raise ConfigError(
                f"trainer.callbacks: EarlyStopping has mode {mode}, but a {better} {task.monitor} is better: set its "
                f"mode to {task.mode}, or type --early_stopping {stop.init_args.patience} in its place"
            )


def keep_rate(settings: Namespace, lr: float | None) -> None:
    """Put a rate in place of `find_lr`, so that config.yaml reproduces the run."""
    settings["model.init_args.optim.lr"], settings["find_lr"] = lr, False


def keep_found(trainer: Trainer, settings: Namespace) -> None:
    """Keep the rate that the trainer's range test found, if it has found one."""
    for callback in cast(Any, trainer).callbacks:
        if isinstance(callback, LearningRateRangeTest) and callback.found is not None:
            keep_rate(settings, callback.found)


def _rate(before: dict[str, Any]) -> float | None:
    """The learning rate of the run that is resumed; null for the optimizer's own."""
    return before["model"]["init_args"]["optim"]["lr"]
