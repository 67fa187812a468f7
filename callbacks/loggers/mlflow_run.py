"""MLflow runs: on the server of MLFLOW_TRACKING_URI, else in files, `runs/mlflow`."""

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.loggers.logger import DummyExperiment
from lightning.pytorch.utilities import rank_zero_only

from callbacks.loggers.facts import Facts, run_title
from callbacks.loggers.fault_tolerant import reason
from callbacks.terminal import print_line
from modules.contracts import ConfigError, from_here, writing

MLFLOW_ID = ".mlflow_id"
PASSWORD = r"//[^/@\s]+@"  # and user, in an address
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Retries, and seconds of each, until a server that does not answer counts as out of reach; MLflow's take minutes."""


class MLflowRun(MLFlowLogger):
    """MLflow logger whose run begins with the first settings or metrics, so that a mistake leaves none behind.

    Attributes: `id_file` holds the id of the run, in which a resumed one continues.
    """

    begun = False
    id_file: Path

    @property
    def experiment(self) -> Any:
        if not self.begun or cast(Any, rank_zero_only).rank:
            return DummyExperiment()
        return super().experiment

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        self.begun = True
        super().log_hyperparams(params)
        with writing(self.id_file):
            self.id_file.write_text(str(self.run_id))

    def advice(self) -> str:
        """Address of the run, or the command that shows it."""
        if not self.begun:
            return ""
        address = re.sub(PASSWORD, "//", str(self._tracking_uri))
        if address.startswith("http"):
            return f"MLflow: {address}/#/experiments/{self.experiment_id}/runs/{self.run_id}"
        folder = Path(address.removeprefix("file:"))
        place = from_here(folder) if address.startswith("file:") else address
        return f"MLflow, look: MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {shlex.quote(str(place))}"

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.begun = True
        # in MLflow's files a name with a slash is a folder, which cannot have the name of another metric
        ends = {end: end.replace("/", "_") for end in ("/low", "/high")}
        named = {k.removesuffix(end) + to: v for end, to in ends.items() for k, v in metrics.items() if k.endswith(end)}
        super().log_metrics({k: v for k, v in metrics.items() if not k.endswith(tuple(ends))} | named, step)


def mlflow_run(folder: Path, facts: Facts) -> MLflowRun | None:
    """Logger of a run directory; null, with a sentence on the main process, where MLflow cannot log.

    The experiment is MLFLOW_EXPERIMENT_NAME, else that of W&B's project, else `graft`.

    Raises:
        ConfigError: MLflow is not installed.
    """
    known, environment = folder / MLFLOW_ID, os.environ
    tags = {"job_type": facts.job_type, "mlflow.note.content": facts.command, **dict.fromkeys(facts.tags, "true")}
    environment.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # which from version 3 on asks for a database
    environment.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for name, value in PATIENCE.items():
        environment.setdefault(name, value)
    try:
        logger = MLflowRun(
            experiment_name=environment.get("MLFLOW_EXPERIMENT_NAME") or environment.get("WANDB_PROJECT") or "graft",
            run_name=run_title(folder),
            tracking_uri=environment.get("MLFLOW_TRACKING_URI"),
            save_dir=str(Path("runs", "mlflow").absolute()),
            run_id=known.read_text() if known.exists() else None,
            tags=tags,
        )
    except ModuleNotFoundError as error:
        raise ConfigError('mlflow is true, but MLflow is not installed: pip install "graft[mlflow]"') from error
    except Exception as error:  # each kind of store, address and disk raises its own types
        if getattr(rank_zero_only, "rank", 0) == 0:
            uri = environment.get("MLFLOW_TRACKING_URI")
            where = f"MLFLOW_TRACKING_URI is {uri}" if uri else "its folder is runs/mlflow"
            remedy = "correct it or unset it" if uri else "set MLFLOW_TRACKING_URI to another"
            said = f"{where}: {reason(error).partition('. ')[0]}; {remedy}, training goes on without MLflow"
            print_line(f"MLflow logs nothing: {re.sub(PASSWORD, '//', said)}")
        return None
    logger.id_file = known
    return logger
