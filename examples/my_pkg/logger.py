"""A logger: lines of JSON."""

import json
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only


class MyLogger(Logger):
    """A line of JSON for every step with metrics.

    Args:
        file: that the lines are added to.
    """

    name, version = "my_logger", None

    def __init__(self, file: str = "metrics.jsonl"):
        super().__init__()
        self.file = Path(file)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        with self.file.open("a") as lines:
            lines.write(json.dumps({"step": step, **metrics}) + "\n")

    def log_hyperparams(self, params: dict[str, Any], *args: Any) -> None:
        """Log no settings: `config.yaml` has them."""
