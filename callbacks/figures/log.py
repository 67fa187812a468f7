"""Send a figure or a table to the run directory and to the loggers."""

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from modules.contracts import writing


def log_figure(trainer: Trainer, name: str, figure: np.ndarray) -> None:
    """Write `<run>/figures/<name>.png` and log the figure to W&B and TensorBoard, from the first process.

    Args:
        trainer: its `default_root_dir` is the run directory.
        name: file name without ending.
        figure: uint8 (H, W, 3).
    """
    if not trainer.is_global_zero:
        return
    from PIL import Image

    path = Path(trainer.default_root_dir) / "figures" / f"{name}.png"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(figure).save(path)
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(f"figures/{name}", [figure], step=trainer.global_step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(f"figures/{name}", figure, trainer.global_step, dataformats="HWC")


def log_table(trainer: Trainer, name: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Log a table to W&B and TensorBoard, from the first process."""
    for logger in trainer.loggers if trainer.is_global_zero else ():
        if isinstance(logger, WandbLogger):
            logger.log_table(f"tables/{name}", columns=columns, data=rows, step=trainer.global_step)
        elif isinstance(logger, TensorBoardLogger):
            lines = [columns, ["---"] * len(columns), *rows]
            cells = ([str(cell).replace("|", "\\|").replace("\n", "<br>") for cell in line] for line in lines)
            text = "\n".join(f"| {' | '.join(line)} |" for line in cells)
            logger.experiment.add_text(f"tables/{name}", text, trainer.global_step)
