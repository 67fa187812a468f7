"""Facts about a command that loggers group, filter and describe runs by."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Facts(NamedTuple):
    """Facts about a command.

    Args:
        job_type: fit, validate, test, evaluate, compare or tune.
        command: as typed.
        tags: task, backbone and method.
        leads_group: the command starts other runs, whose group has its name.
    """

    job_type: str = "fit"
    command: str = ""
    tags: tuple[str, ...] = ()
    leads_group: bool = False


def tags_of(task: Any) -> tuple[str, ...]:
    """Tags of a task: what is learned, its backbone, and the method.

    The method is that of the pretraining or generation (`simclr`, `wgan`), else what the weights start from: `linear
    probe` for a frozen backbone, `fine-tuning`, or `from scratch`.
    """
    own, backbone = type(task).__name__.lower(), getattr(task, "backbone", None)
    kind = "pretraining" if task.pretraining else "generation" if task.generative else own
    method = own
    if kind == own:
        weights, frozen = (getattr(task.hparams, name, None) for name in ("weights", "frozen"))
        method = "linear probe" if frozen else "fine-tuning" if weights else "from scratch"
    return tuple(name[:64] for name in (kind, backbone.name if backbone else "", method) if name)


def commit() -> str:
    """Commit of this program, with `-dirty` for changed files; empty where git does not know."""
    source = Path(__file__).parents[2]
    if not (source / ".git").exists():
        return ""
    asked = ["git", "-C", str(source), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):  # no git here
        return ""
    return found.stdout.strip()


def run_title(folder: Path) -> str:
    """Name of a run by its directory: `NAME/TIME`."""
    return "/".join(folder.parts[-2:])


def lead_group(folder: Path) -> None:
    """Set the variables of the runs that this process starts: a group with the name of its own run.

    WANDB_RUN_ID and WANDB_NAME, which would make one run of all, are of its own run only.

    Args:
        folder: run directory of this process.
    """
    os.environ["WANDB_RUN_GROUP"] = os.environ.get("WANDB_RUN_GROUP") or run_title(folder)
    for name in ("WANDB_RUN_ID", "WANDB_NAME"):
        os.environ.pop(name, None)


def interval_ends(rows: list[dict]) -> Iterator[tuple[str, float]]:
    """Ends of the 95 % intervals of results, as `NAME/low` and `NAME/high`."""
    for row in rows:
        for end, value in zip(("low", "high"), row.get("interval") or (), strict=False):
            if value is not None:
                yield f"{row['metric']}/{end}", value
