"""Out-of-fold predictions of a cross-validation: each sample's by the run that has not seen it, in one table."""

import csv
from collections.abc import Sequence
from pathlib import Path

from callbacks.results.variants import Repeat
from callbacks.writers.per_class import write_csv


def write_out_of_fold(folder: Path, repeats: Sequence[Repeat]) -> None:
    """Write `out_of_fold.csv`: the rows of all `predictions/test.csv`, behind columns of seed and fold.

    Args:
        folder: of a variant, with a run directory for each repetition; runs without such a table leave none.
        repeats: the repetitions.
    """
    columns, rows = [], []
    for repeat in repeats:
        path = folder / repeat.name / "predictions" / "test.csv"
        if not path.is_file():
            return
        with path.open(newline="", encoding="utf-8") as file:
            columns, *found = csv.reader(file)
        rows += [[repeat.seed, repeat.fold, *row] for row in found]
    write_csv(folder / "out_of_fold.csv", [["seed", "fold", *columns], *rows])
