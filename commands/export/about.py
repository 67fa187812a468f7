"""Facts about a training for the metadata of exported files."""

import json
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from commands.checkpoints import run_of
from commands.export.metadata import FORMAT
from commands.trained import Trained
from datamodules import DataModule
from datamodules.setting_roles import roles_of
from modules.contracts.preprocessing import Preprocessing
from modules.export import Graph
from tasks import Task

ROOT = Path(__file__).parents[2]


def origin() -> dict[str, Any]:
    """Version of this program, and its git commit where it runs from a clone."""
    try:
        own = version("graft")
    except PackageNotFoundError:
        own = None
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        found = None
    return {"version": own, "commit": found}


def describe(
    trained: Trained, task: Task, data: DataModule, preprocessing: Preprocessing | None, graph: Graph
) -> dict[str, Any]:
    """Metadata of a file about its task, its data and its training; no folder of this machine is in them."""
    roles = roles_of(type(data))
    settings = {section: dict(value) for section, value in trained.settings.items()}
    known = settings["data"].get("init_args", {})
    typed = {name: value for name, value in data.hparams.items() if roles.get(name) == "input"}
    settings["data"]["init_args"] = {
        name: typed.get(name, value) for name, value in known.items() if roles.get(name) != "location"
    }
    known = settings["model"].get("init_args", {})
    typed = {**task.hparams, "weights": None}
    settings["model"]["init_args"] = {name: typed.get(name, value) for name, value in known.items()}
    return {
        "format": FORMAT,
        "task": type(task).__name__,
        "classes": task.classes,
        "threshold": getattr(task, "drawing_threshold", None),
        "preprocessing": preprocessing and preprocessing._asdict(),
        "outputs": list(graph.outputs),
        "kind": graph.kind,
        "settings": graph.settings,
        "results": figures(run_of(trained.path)),
        "run": {"name": trained.name, "epoch": trained.epoch + 1, "checkpoint": trained.path.name},
        "data": type(data).__name__,
        "graft": origin(),
        "torch": torch.__version__,
        "train": settings | {"meaning": trained.meaning},
    }


def figures(run: Path) -> list[dict[str, Any]]:
    """Rows of the `results.json` of a run: metric, value, interval and protocol; empty without one."""
    path = run / "results.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["results"]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    keys = ("metric", "value", "interval", "items", "weights", "protocol")
    return [{key: row[key] for key in keys if key in row} for row in rows]
