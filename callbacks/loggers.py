"""Where numbers and pictures go: metrics.csv always, W&B always (offline without a login), TensorBoard by a flag."""

import netrc
import os
import uuid
from pathlib import Path

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from callbacks.metrics import MetricsCSV
from modules.contracts import writing


def build_loggers(folder: str, tensorboard: bool = False, wandb: bool = True) -> list[Logger]:
    """The loggers of a run directory, on the main process; W&B_MODE=disabled in the environment switches W&B off."""
    loggers: list[Logger] = [MetricsCSV(folder)]
    if wandb and os.environ.get("WANDB_MODE") != "disabled" and rank_zero_only.rank == 0:
        loggers.append(_wandb(Path(folder)))
    if tensorboard:
        from lightning.pytorch.loggers import TensorBoardLogger

        loggers.append(TensorBoardLogger(folder, name="", version="tensorboard"))
    return loggers


def offline() -> bool:
    """Whether W&B must stay offline: nobody has logged in. Decided here, because W&B would ask and wait."""
    if mode := os.environ.get("WANDB_MODE"):
        return mode != "online"
    if os.environ.get("WANDB_API_KEY"):
        return False
    try:
        hosts = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return True
    return not any("wandb" in host for host in hosts)


def _wandb(folder: Path) -> Logger:
    import wandb

    from callbacks.wandb import Wandb

    name = folder / ".wandb_id"  # a resumed run goes on in the same W&B run
    with writing(name):
        if not name.exists():
            name.write_text(uuid.uuid4().hex[:8])
    os.environ["WANDB_SILENT"] = "true"  # what matters is in the summary
    settings = wandb.Settings(silent=True, console="off")
    logger = Wandb(
        project="graft",
        name=f"{folder.parent.name}/{folder.name}",
        save_dir=str(folder),
        id=name.read_text(),
        resume="allow",
        offline=offline(),
        settings=settings,
    )
    logger._wandb_init.pop("anonymous")  # W&B warns about what Lightning passes unasked
    return logger
