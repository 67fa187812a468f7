"""What `cli.py fit` reaches, for the benchmarks of quality."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cli
from benchmarks.overhead import surroundings

TASKS = Path(cli.__file__).parent / "tasks"


def fitted(task: str, typed: dict[str, Any], options: Sequence[str] = ()) -> dict[str, float]:
    """Figures of one training with tasks/TASK.yaml, and the `seconds` that it took.

    Args:
        task: file name in tasks/, without its ending.
        typed: arguments of the command line.
        options: more of them, as typed.
    """
    with TemporaryDirectory() as folder, surroundings():
        words = [f"{name}={value}" for name, value in typed.items()]
        cli.quiet()
        cli.CLI(["fit", f"--config={TASKS / task}.yaml", *words, f"--run_dir={folder}/run", *options])
        results = json.loads(Path(folder, "run", "results.json").read_text())
    return {row["metric"]: row["value"] for row in results["results"]} | {"seconds": results["seconds"]}


def show(figures: dict[str, float]) -> None:
    for name, value in figures.items():
        print(f"{name}: {value:.4g}")
