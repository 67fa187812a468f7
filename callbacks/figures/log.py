"""Send a figure or a table to the run directory and to the loggers."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer

from callbacks.loggers.fault_tolerant import attempt
from callbacks.loggers.media import send_image, send_table
from modules.contracts import writing


def log_figure(trainer: Trainer, name: str, figure: np.ndarray) -> None:
    """Write `<run>/figures/<name>.png` and send the figure to all loggers that take images, from the first process.

    Args:
        trainer: its `default_root_dir` is the run directory.
        name: file name without ending.
        figure: uint8 (H, W, 3).
    """
    if not trainer.is_global_zero:
        return
    path = write_figure(figure, Path(trainer.default_root_dir) / "figures" / f"{name}.png")
    for logger in trainer.loggers:
        attempt(logger, partial(send_image, logger, f"figures/{name}", figure, path, trainer.global_step))


def write_figure(figure: np.ndarray, path: Path, option: str = "--run_dir") -> Path:
    """Write a figure uint8 (H, W, 3) as PNG, in a folder that is made where it is missing; returns the path.

    Raises:
        DataError: it cannot be written; names the option.
    """
    from PIL import Image

    with writing(path, option):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(figure).save(path)
    return path


def log_table(trainer: Trainer, name: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Send a table to all loggers that take tables, from the first process."""
    for logger in trainer.loggers if trainer.is_global_zero else ():
        attempt(logger, partial(send_table, logger, f"tables/{name}", columns, rows, trainer.global_step))
