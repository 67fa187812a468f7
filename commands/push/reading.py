"""Trained run that is to be pushed: its checkpoint, and the results of exactly these weights."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from commands.checkpoints import find_checkpoint, latest_run
from commands.report.reading import read_json
from commands.yaml_text import read_settings
from modules.contracts import DataError


class Trained(NamedTuple):
    """A run and its results.

    Args:
        folder: run directory.
        checkpoint: the file.
        report: its results.json.
        rows: results of the weights in the file.
        settings: its config.yaml.
    """

    folder: Path
    checkpoint: Path
    report: dict[str, Any]
    rows: list[dict[str, Any]]
    settings: dict[str, Any]


def read_run(typed: str) -> Trained:
    """The run of --ckpt_path, a run directory or one of its checkpoints.

    Of a directory it is the checkpoint that its results are of.

    Raises:
        DataError: no run there, or no results of these weights.
    """
    place = latest_run(Path(typed).expanduser())
    checkpoint = find_checkpoint(str(place), "", resume=False)
    folder = checkpoint.parent.parent
    path = folder / "results.json"
    if not path.is_file():
        raise DataError(f"{folder} has no results.json, of which the model card is written: let its fit end first")
    report = read_json(path)
    try:
        rows = [*report["results"], *report.get("results of other weights", ())]
        if place.is_dir():
            tested = folder / "checkpoints" / f"{str(report['test weights']).partition(' ')[0]}.ckpt"
            checkpoint = tested.resolve() if tested.is_file() else checkpoint
        found = [row for row in rows if checkpoint.stem in re.findall(r"\w+", row["weights"])]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not as a fit of this version leaves it ({error!r}): train the run again") from error
    if not found:
        raise DataError(
            f"{path} has no results of {checkpoint.name}, only of {report['test weights']}: push that by --ckpt_path "
            f"{folder}"
        )
    settings = read_settings(folder / "config.yaml", DataError) if (folder / "config.yaml").is_file() else {}
    return Trained(folder, checkpoint, report, found, settings)
