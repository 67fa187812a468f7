"""Images and tables for every logger that can take one, recognized by its methods or those of its experiment."""

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger


def send_image(logger: Logger, key: str, image: np.ndarray, path: Path, step: int) -> None:
    """Send an image to a logger; nothing happens with one that takes no images.

    | method | of |
    |---|---|
    | `logger.log_image(key, [image], step=)` | Lightning's WandbLogger |
    | `experiment.add_image(key, image, step, dataformats=)` | TensorBoard's SummaryWriter |
    | `experiment.log_image(run_id, image, key=, step=)`, of a logger with a `run_id` | MLflow's client |
    | `experiment.log_image(image, name=, step=)` | Comet's experiment |
    | `experiment.log_files({key: path}, step=)` | Neptune's run, from version 3 on |
    | `experiment[key].upload(path)` | Neptune's run, before |

    Args:
        logger: on the first process.
        key: such as figures/knn.
        image: uint8 (H, W, 3).
        path: of the same image as a PNG.
        step: finished optimizer steps.
    """
    if hasattr(logger, "log_image"):
        logger.log_image(key, [image], step=step)
    elif hasattr(run := getattr(logger, "experiment", None), "add_image"):
        run.add_image(key, image, step, dataformats="HWC")
    elif hasattr(run, "log_image") and hasattr(logger, "run_id"):
        run.log_image(logger.run_id, image, key=key, step=step)
    elif hasattr(run, "log_image"):
        run.log_image(image, name=key, step=step)
    elif hasattr(run, "log_files"):
        run.log_files({key: str(path)}, step=step)
    elif hasattr(run, "__getitem__"):
        run[key].upload(str(path))


def send_table(logger: Logger, key: str, columns: list[str], rows: list[list[Any]], step: int) -> None:
    """Send a table to a logger of W&B, or as text to one of TensorBoard; nothing happens with others."""
    if hasattr(logger, "log_table"):
        logger.log_table(key, columns=columns, data=rows, step=step)
    elif hasattr(run := getattr(logger, "experiment", None), "add_text"):
        lines = [columns, ["---"] * len(columns), *rows]
        cells = ([str(cell).replace("|", "\\|").replace("\n", "<br>") for cell in line] for line in lines)
        run.add_text(key, "\n".join(f"| {' | '.join(line)} |" for line in cells), step)
