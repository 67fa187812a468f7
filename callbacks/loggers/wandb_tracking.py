"""W&B beyond scalars: best of the monitor, artifacts with their lineage, and a table of predictions."""

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from safetensors import safe_open

from callbacks.collectors.base import Collector, exchanged
from callbacks.kinds.registry import KINDS, collected
from callbacks.loggers.fault_tolerant import attempt
from callbacks.loggers.prediction_table import prediction_table
from callbacks.results.metrics import Rows, check_names, told
from callbacks.results.number_format import or_null
from callbacks.terminal import print_line
from modules.contracts import SURPLUS, Batch, check_range
from modules.contracts.repositories import is_repository
from modules.training.transfer import weights_file

WANDB_ID = ".wandb_id"
EXPORT = "backbone.safetensors"
STEP = "trainer/global_step"


class WandbTracking(Callback):
    """Log artifacts with their lineage and a table of predictions to W&B, and the best of the monitor in its summary.

    A run's `backbone.safetensors` is an artifact `backbone-ID` of type `model`, ID being the run's; a run that starts
    from `--model.weights RUN` uses it, so that W&B's graph leads from pretraining to fine-tuning. Offline, both are
    recorded and uploaded by `wandb sync`.

    Args:
        log_model: log the checkpoints too: `last`, `best` and `averaged` are versions of the artifact `model-ID`.
        table: number of predictions in a table with their images, of the test set or else of val; 0 for no table.

    Raises:
        ConfigError: a negative number.
    """

    def __init__(self, log_model: bool = False, table: int = 0) -> None:
        check_range("wandb.table", table)
        self.log_model, self.table = log_model, table
        self.collector: Collector | None = None
        self.kind = ""  # of what it collects

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        settings = pl_module.hparams
        sources = [settings[name] for name in ("weights", "self_critical") if settings.get(name)]
        for logger in _runs(trainer):
            attempt(logger, partial(_define, logger, pl_module))
            for source in sources:
                _use(logger, source)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.collector = None

    on_test_start = on_validation_start

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not self.table or trainer.state.fn == "fit" or not outputs or SURPLUS in batch:
            return
        kind: Any = collected(outputs, batch)
        if kind is None:
            return
        if self.collector is None:
            check_names(batch, self)
            self.collector, self.kind = kind.collect(self.table), kind.name
        turn = batch_idx * trainer.world_size + trainer.global_rank
        self.collector.update(batch, outputs, pl_module, turn * cast(Any, trainer).datamodule.batch_size)

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.table or trainer.state.fn == "fit":
            return
        collector, self.collector = self.collector, None
        kind = next(filter(None, exchanged(self.kind if collector else None)), None)
        if kind is None:
            return
        collector = collector or cast(Any, KINDS[kind]).collect(self.table)
        collector.gather()
        key = f"predictions/{'test' if trainer.testing else 'val'}"
        for logger in _runs(trainer):
            attempt(logger, partial(_send_table, logger, key, collector, pl_module, trainer.global_step))

    on_test_end = on_validation_end

    def take_results(self, trainer: Trainer, rows: Rows) -> None:
        """Log artifacts after a `fit`, and the best monitor of all its parts."""
        folder, task = Path(trainer.default_root_dir), trainer.lightning_module
        if not trainer.is_global_zero or not (folder / "checkpoints").is_dir():
            return
        found = [one for each in told(trainer, "validations") for name, one in each.items() if name.startswith("best")]
        best = {name: value for one in found for name, value in one.metrics.items() if name == task.monitor}
        about = best | {row["metric"]: or_null(row["value"]) for row in rows if row["metric"].startswith("test/")}
        for logger in _runs(trainer):
            for name, value in best.items():
                attempt(logger, partial(logger.experiment.summary.update, {name: {task.mode: value}}))
            attempt(logger, partial(_log_backbone, logger, folder / EXPORT, about))
            for name in ("last", "best", "averaged") if self.log_model else ():
                attempt(logger, partial(_log_checkpoint, logger, folder / "checkpoints" / f"{name}.ckpt", about))


def _runs(trainer: Trainer) -> list[Any]:
    """W&B's loggers, on the first process; none that has failed or is disabled."""
    loggers = [one for one in trainer.loggers if isinstance(one, WandbLogger)] if trainer.is_global_zero else []
    return [one for one in loggers if not getattr(one, "failed", False) and not one.experiment.disabled]


def _define(logger: Any, task: Any) -> None:
    logger.experiment.define_metric(task.monitor, step_metric=STEP, step_sync=True, summary=task.mode)


def _log_backbone(logger: Any, path: Path, about: dict[str, Any]) -> None:
    if path.is_file():
        with safe_open(path, "pt") as file:
            about = about | {key: json.loads(value) for key, value in file.metadata().items() if key != "format"}
        logger.experiment.log_artifact(_artifact(logger, f"backbone-{logger.experiment.id}", path, about))


def _log_checkpoint(logger: Any, path: Path, about: dict[str, Any]) -> None:
    if path.is_file():
        artifact = _artifact(logger, f"model-{logger.experiment.id}", path, about | {"checkpoint": path.stem})
        logger.experiment.log_artifact(artifact, aliases=["latest", path.stem])


def _artifact(logger: Any, name: str, path: Path, about: dict[str, Any]) -> Any:
    """An artifact of type `model` with a file, linked into W&B's folder: a resumed run writes another in its place."""
    import wandb

    artifact = wandb.Artifact(name, type="model", metadata=about)
    kept = Path(logger.experiment.settings.sync_dir).absolute() / "artifacts" / name / path.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.unlink(missing_ok=True)
    try:
        os.link(path, kept)
    except OSError:  # another file system
        shutil.copyfile(path, kept)
    artifact.add_file(str(kept), name=path.name, policy="immutable")
    return artifact


def _use(logger: Any, source: str) -> None:
    """Declare that the run starts from weights; a failure, as of the server, ends no run and no logging."""
    if source in ("none", "pretrained"):
        return
    try:
        artifact = _used(logger, source)
        if logger.experiment.offline:  # what `use_artifact` does with a draft, without waiting for the server
            logger.experiment._log_artifact(artifact, is_user_created=True, use_after_commit=True)
        else:
            logger.experiment.use_artifact(artifact)
    except Exception as error:
        print_line(f"W&B does not show that the run starts from {source}: {error}")


def _used(logger: Any, source: str) -> Any:
    """The artifact of the run that weights are of, which W&B knows by name and content; of others a reference."""
    import wandb

    place = weights_file(source) if is_repository(source) else Path(source)
    folder = place if place.is_dir() else place.parents[place.parent.name == "checkpoints"]
    known = folder / WANDB_ID
    if known.is_file() and (folder / EXPORT).is_file():
        return _artifact(logger, f"backbone-{known.read_text()}", folder / EXPORT, {})
    name = Path(source.partition("@")[0]).stem
    artifact = wandb.Artifact(f"weights-{name}", type="model", metadata={"path": source})
    artifact.add_reference(place.resolve().as_uri(), name=place.name)
    return artifact


def _send_table(logger: Any, key: str, collector: Collector, task: LightningModule, step: int) -> None:
    columns, rows = prediction_table(collector, task)
    logger.log_table(key, columns=columns, data=rows, step=step)
