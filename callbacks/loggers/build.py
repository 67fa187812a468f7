"""Loggers of a run: metrics.csv always, W&B by default (offline without a login), TensorBoard and MLflow by flags."""

import os
import shlex
import uuid
from collections.abc import Iterable
from pathlib import Path

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from callbacks.loggers.facts import Facts, lead_group, run_title
from callbacks.loggers.fault_tolerant import fault_tolerant
from callbacks.loggers.metrics_csv import MetricsCSV
from callbacks.loggers.mlflow_run import MLFLOW_ID, mlflow_run
from callbacks.loggers.wandb_run import git_root, unwritable, wrong_variables
from callbacks.loggers.wandb_tracking import WANDB_ID
from callbacks.terminal import print_line
from modules.contracts import writing

WANDB_STEP = ".wandb_step"
LOGGED = {"metrics.csv", "metrics.tmp", "tensorboard", "wandb", WANDB_ID, WANDB_STEP, MLFLOW_ID}
"""Names of all that these loggers write to the run directory."""

UPLOAD = 300  # seconds that the end of a run waits for W&B's uploads; what is left stays on disk for `wandb sync`


class TensorBoard(TensorBoardLogger):
    """TensorBoard logger that says how to look at its run."""

    def advice(self) -> str:
        return f"TensorBoard, look: tensorboard --logdir {shlex.quote(self.log_dir)}"


def build_loggers(
    folder: str,
    tensorboard: bool = False,
    wandb: bool = True,
    own: Iterable[Logger] = (),
    mlflow: bool = False,
    facts: Facts = Facts(),
) -> list[Logger]:
    """The loggers of a run directory and the user's `own`; only metrics.csv can end a run.

    W&B is on the main process; an own WandbLogger replaces it, WANDB_MODE=disabled switches it off. With a variable
    that W&B would fail on, or a folder that it cannot write to, there is none; nor MLflow at an address it cannot use.

    Raises:
        ConfigError: `mlflow`, but it is not installed.
    """
    loggers, own = [], list(own)
    wandb = wandb and os.environ.get("WANDB_MODE") != "disabled" and rank_zero_only.rank == 0
    theirs = [logger for logger in own if isinstance(logger, WandbLogger)]
    if (wandb or theirs) and (wrong := wrong_variables() or unwritable()):
        if rank_zero_only.rank == 0:
            print_line(f"W&B logs nothing: {wrong}; correct it or unset it, training goes on without W&B")
        wandb, own = False, [logger for logger in own if logger not in theirs]
    if wandb and not theirs:
        loggers.append(_wandb(Path(folder), facts))
    if tensorboard:
        loggers.append(fault_tolerant(TensorBoard(folder, name="", version="tensorboard")))
    if mlflow and (logger := mlflow_run(Path(folder), facts)):
        loggers.append(fault_tolerant(logger))
    if facts.leads_group:
        lead_group(Path(folder))
    return [MetricsCSV(folder), *loggers, *map(fault_tolerant, own)]


def _wandb(folder: Path, facts: Facts) -> Logger:
    """WandbLogger configured by WANDB_PROJECT, WANDB_NAME, WANDB_RUN_ID, ..., by default named as the folder.

    Tags of WANDB_TAGS and those of the run are both there. W&B itself reads further variables.
    """
    import wandb

    environment = os.environ
    name = folder / WANDB_ID  # a resumed run goes on in the same W&B run
    with writing(name):
        if not name.exists() or environment.get("WANDB_RUN_ID"):
            name.write_text(environment.get("WANDB_RUN_ID") or uuid.uuid4().hex[:8])
    environment.setdefault("WANDB_SILENT", "true")  # what matters is in the summary
    settings = wandb.Settings(
        console=environment.get("WANDB_CONSOLE", "off"),
        silent=environment["WANDB_SILENT"].lower() in ("true", "1"),
        init_timeout=float(environment.get("WANDB_INIT_TIMEOUT", 30)),
        finish_timeout=float(environment.get("WANDB_FINISH_TIMEOUT", UPLOAD)),
        git_root=git_root(),
    )
    tags = [tag.strip() for tag in environment.get("WANDB_TAGS", "").split(",") if tag.strip()]
    logger = WandbLogger(
        project=environment.get("WANDB_PROJECT") or "graft",
        entity=environment.get("WANDB_ENTITY"),
        name=environment.get("WANDB_NAME") or run_title(folder),
        job_type=environment.get("WANDB_JOB_TYPE") or facts.job_type,
        group=environment.get("WANDB_RUN_GROUP") or (run_title(folder) if facts.leads_group else None),
        notes=environment.get("WANDB_NOTES") or facts.command or None,
        tags=[*dict.fromkeys([*tags, *facts.tags])],
        save_dir=environment.get("WANDB_DIR") or str(folder),
        id=name.read_text(),
        resume=environment.get("WANDB_RESUME") or "allow",
        settings=settings,
    )
    known = environment.get("WANDB_MODE") != "shared"  # where nobody knows the step
    return fault_tolerant(logger, counter=folder / WANDB_STEP if known else None)
