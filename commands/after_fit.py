"""The end of a `fit`: report one without a step, export the best backbone, and validate and test the weights."""

from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import WeightAveraging

from callbacks.results.metrics import Results
from callbacks.stop_early import StopEarly
from callbacks.terminal import print_line
from commands.checkpoints import first_saved
from datamodules import DataModule
from modules.contracts import ConfigError
from modules.training.transfer import export_backbone, export_lora, read_checkpoint
from tasks import Task, VisionTask


def export_and_test(trainer: Trainer, task: Task, data: DataModule, results: Results) -> None:
    """Load the best weights into the task, export its backbone, and validate and test it.

    Args:
        trainer: that has trained it.
        task: the trained one.
        data: that it was trained on.
        results: gets the name of the weights, and the metrics.
    """
    trainer.strategy.barrier()  # until the first process has put the last checkpoint into its place
    folder = Path(trainer.default_root_dir)
    order = ("averaged", "last") if task.pretraining else ("averaged", "best", "last")
    chosen = first_saved(folder, *order)
    if chosen is None:  # fast_dev_run saves nothing
        return
    checkpoint = read_checkpoint(chosen)
    task.load_state_dict(checkpoint["state_dict"])
    task.take_chosen(checkpoint)
    if trainer.is_global_zero and task.backbone:
        path, name = folder / "backbone.safetensors", type(task).__name__
        export_backbone(task.exported, path, task=name, epoch=checkpoint["epoch"] + 1)
        if isinstance(task, VisionTask) and task.lora.rank and task.weights:
            path, scale = folder / "lora.safetensors", task.lora.scale
            trained = [own for own, p in task.backbone.net.named_parameters() if p.requires_grad]
            about = {"task": name, "epoch": checkpoint["epoch"] + 1}
            export_lora(task.exported, path, trained, task.weights, scale, **about)
    results.set_weights(chosen.stem, checkpoint["epoch"])
    tested = data.has("test")
    if data.has("val") and trainer.limit_val_batches != 0 and not _validated(task, chosen, tested):
        for callback in trainer.callbacks:
            if isinstance(callback, WeightAveraging):
                callback._average_model = None  # it would put its newest weights in place of the chosen ones
        trainer.validate(task, datamodule=data, verbose=False)
    if tested:
        trainer.test(task, datamodule=data, verbose=False)


def say_untrained(trainer: Trainer, checkpoint: Path, resumed: bool) -> None:
    """Print that a `fit` found nothing left to train.

    Args:
        trainer: that made no step.
        checkpoint: that it started from.
        resumed: the run directory is that of the checkpoint.

    Raises:
        ConfigError: the run directory is another, which would be left without a checkpoint.
    """
    done = {"max_epochs": trainer.current_epoch, "max_steps": trainer.global_step}
    limits = {name: getattr(trainer, name) for name in done}
    ends = [f"trainer.{k} is {limit}" for k, limit in limits.items() if limit is not None and 0 <= limit <= done[k]]
    stops = [one.patience for one in cast(Any, trainer).callbacks if isinstance(one, StopEarly) and one.over]
    ends += [f"early_stopping is {patience}" for patience in stops]
    why = " and ".join(ends) or "trainer.max_time or trainer.limit_train_batches ends the run"
    said = f"nothing was trained after {checkpoint}: {why}; raise that to go on, or use that checkpoint as it is"
    if not resumed:
        raise ConfigError(said)
    if trainer.is_global_zero:
        print_line(said)


def _validated(task: Task, chosen: Path, tested: bool) -> bool:
    """True if the chosen weights need no further validation.

    Averaged weights and those of tasks with a quicker validation between epochs (`quick`) have no full one yet; without
    a test set, validation alone scores single samples.
    """
    return chosen.stem != "averaged" and not task.quick and (tested or task.pretraining or task.generative)
