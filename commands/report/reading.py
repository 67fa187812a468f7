"""Files of a run directory: results, tables, figures and configuration, as they were left there."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from commands.arguments import UNNAMED
from commands.checkpoints import newest
from commands.page import Code, Figure, Section, Table
from modules.contracts import DataError

KINDS = {"compare.json": "runs", "tune.json": "trials", "steps.json": "steps", "results.json": "results"}
"""Files that say what a directory is of, and the entry that a finished one has."""
SUFFIXES = (".png", ".jpg", ".gif", ".webp")
MOST_FIGURES = 40
MOST_ROWS = 200

CAPTIONS = {
    "train_batch": "samples as the network sees them in training",
    "predictions": "predictions on samples of the split",
    "mistakes": "samples whose answers are wrong, the surest first",
    "confusion": "confusion matrix: rows true, columns predicted",
    "learning_curves": "loss and monitored metric of training and validation over epochs",
    "knn": "accuracy of nearest neighbors among the features over training",
    "lr_finder": "loss over the learning rate in the range test",
    "suspects": "samples whose label is probably wrong",
    "precision_recall": "precision over recall",
    "attention": "attention of each word",
    "projection": "features in two dimensions",
    "neighbors": "images beside their nearest neighbors",
    "robustness": "accuracy under corruptions of rising strength",
    "corruptions": "the corruptions",
    "accuracies": "accuracies of kNN and probes",
    "spectrum": "eigenvalues of the features' covariance",
    "history": "value of each trial in their order, and the best until then",
    "importance": "share of the metric's variation that each setting explains",
    "slices": "metric of each trial over each setting",
    "compare": "results, differences with their intervals, and validation over epochs",
}
"""Words for figures whose name is this, or ends with it."""


def find_run(folder: Path) -> tuple[Path, str]:
    """A finished run in a folder, or the latest of a folder of runs, and the file that says what it is of.

    Raises:
        DataError: there is no such folder, or nothing finished in it.
    """
    if str(folder) == "latest" and not folder.exists():
        folder = newest(UNNAMED, *KINDS)
    if not folder.is_dir():
        raise DataError(f"there is no run directory {folder}: --run_dir is a folder such as runs/NAME/latest")
    for place in (folder, folder / "latest"):
        for name, entry in KINDS.items():
            if (place / name).is_file() and entry in read_json(place / name):
                return place.resolve() if place.is_symlink() else place, name
    begun = [name for name in KINDS if (folder / name).is_file()]
    begun += ["checkpoints"] * (folder / "checkpoints").is_dir()
    what = f"has no results yet, only {begun[0]}: let it end first" if begun else "is no run directory"
    raise DataError(f"{folder} {what}; report takes the --run_dir of fit, validate, test, evaluate, compare and tune")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        DataError: it is none, or cannot be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} is not as a run leaves it: it holds no object")
    return found


def csv_table(path: Path, most: int = MOST_ROWS) -> Table | None:
    """The first rows of a CSV file; null where there is none, or no row."""
    if not path.is_file():
        return None
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (OSError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}; remove it to leave it out") from error
    width = len(header)
    cells = [[_short(cell) for cell in row[:width]] + [""] * (width - len(row)) for row in rows[:most]]  # cut short
    return Table(header, cells) if rows else None


def _short(cell: str) -> str:
    """A number with a decimal point as four significant digits."""
    try:
        return f"{float(cell):.4g}" if "." in cell else cell
    except ValueError:
        return cell


def figures(folder: Path, heading: str = "Figures") -> Section:
    """The figures of a run; names those that are damaged or too many."""
    section = Section(heading)
    files = sorted(path for path in (folder / "figures").glob("*") if path.suffix.lower() in SUFFIXES)
    for path in files[:MOST_FIGURES]:
        try:
            with Image.open(path) as image:
                image.load()
        except (OSError, SyntaxError, ValueError) as error:  # Pillow's for damaged files
            section.note(f"{path.name} cannot be shown: {error}")
            continue
        section.figures.append(Figure(path, _caption(path.stem)))
    if len(files) > MOST_FIGURES:
        section.lines.append(f"{len(files) - MOST_FIGURES} more in {folder / 'figures'}")
    return section


def _caption(name: str) -> str:
    words = next((text for end, text in CAPTIONS.items() if name == end or name.endswith(f"_{end}")), "")
    words = "results over this setting, with their intervals" if name.startswith("compare_") else words
    return f"{name}: {words}" if words else name


def configuration(folder: Path, *names: str) -> Section:
    """Configuration files of a folder."""
    section = Section("Configuration", folded=True)
    for path in (folder / name for name in names):
        if path.is_file():
            section.lines.append(str(path))
            section.code.append(Code(path.read_text(encoding="utf-8", errors="replace")))
    return section


def facts(report: dict[str, Any]) -> Section:
    """Machine and versions of a results.json."""
    rows = [
        [name, str(report[name])] for name in ("seed", "precision", "machine", "commit") if report.get(name) is not None
    ]
    rows += [[name, str(value)] for name, value in report.get("versions", {}).items()]
    return Section("Machine and versions", [Table(["", "value"], rows)], folded=True)


def filled(sections: list[Section]) -> Iterator[Section]:
    """Sections that have something to show."""
    for section in sections:
        if section.lines or section.tables or section.findings or section.figures or section.code:
            yield section
