"""Transfer matrix: what every pretraining brings to every task with few labels, with intervals.

    python -m benchmarks.matrix --out matrix
    python -m benchmarks.matrix --out matrix --rows none simclr supervised --columns classification video --seeds 5

A row is a start of the backbone: none, a classifier of the same images, or a pretraining as `tasks/NAME.yaml` ships it.
A column is a task on the built-in images with `LABELED` of them for training. Each cell is a mean of
`python cli.py compare` over seeds, beside the same runs from random weights: the difference is paired by seed and test
item, with a 95 % interval; where that contains 0, the two are not distinguishable. What is finished in `--out` is not
trained again, so that the same command goes on where it was stopped. More options of `cli.py fit`, such as
`--trainer.precision 32`, hold for all runs.

Each start is watched by `KNN`, `OnlineProbe` and `FeatureMonitor`. The rank correlation (Spearman) of these statistics
with the transfer, over the starts, tells which of them may stand for a fine-tuning.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.fits import TASKS
from benchmarks.matrix_report import Cell, correlation_table, draw, draw_correlations, markdown
from benchmarks.overhead import surroundings
from benchmarks.report import RESULTS, parser, publish
from cli import main as graft

LABELED = 200
FEWEST = 4  # starts that a correlation is about
NONE, SUPERVISED = "none", "supervised"
ROWS = {  # a start of the backbone -> tasks/NAME.yaml that makes it
    NONE: None,
    SUPERVISED: "classification",
    **{name: name for name in ("autoencoder", "rotation", "jigsaw", "colorization", "masked_patches")},
    **{name: name for name in ("simclr", "moco", "moco_v3", "byol", "simsiam", "dino")},
    **{name: name for name in ("vicreg", "barlow_twins", "swav", "nnclr", "supcon", "lejepa")},
}
WATCHED = ["val/knn", "val/probe", "val/rankme", "val/lidar", "val/alignment", "val/uniformity"]
COLUMNS = {  # a task -> its options
    "classification": "--trainer.max_epochs 40",
    "detection": "--trainer.max_epochs 10 --trainer.check_val_every_n_epoch 10",
    "semantic_segmentation": "--trainer.max_epochs 20",
    "video": "--trainer.max_epochs 40",
    "captioning": "--trainer.max_epochs 40",
}


def pretrain(name: str, folder: Path, seed: int, typed: list[str]) -> None:
    """Make the backbone of a row, or go on with a training that was stopped."""
    if (folder / "results.json").is_file():
        return
    config = TASKS / f"{ROWS[name]}.yaml"
    words = [f"--config={config}", f"--run_dir={folder}", f"--seed_everything={seed}", *typed]
    for callback in ("KNN", "OnlineProbe", "FeatureMonitor"):
        if callback not in config.read_text():
            words.append(f"--trainer.callbacks+={callback}")
    run("fit", *words, *(["--ckpt_path=auto"] if folder.is_dir() else []))


def transfer(column: str, rows: dict[str, Path], folder: Path, seeds: int, typed: list[str]) -> list[Cell]:
    """Fine-tune all rows in a task; returns their cells.

    Args:
        column: the task.
        rows: run directories by row, without that of random weights.
        folder: of the comparison.
        seeds: number of them.
        typed: options of `cli.py fit`.
    """
    starts = ",".join([NONE, *map(str, rows.values())])
    words = [f"--config={TASKS / column}.yaml", f"--weights={starts}", f"--seeds={seeds}", f"--run_dir={folder}"]
    run("compare", *words, f"--data.train={LABELED}", *COLUMNS[column].split(), *typed)
    report = json.loads((folder / "compare.json").read_text())
    names = {str(path): name for name, path in rows.items()} | {"None": NONE}
    named = {key: names[str(one["settings"]["model.weights"])] for key, one in report["variants"].items()}
    found = [row for row in report["comparison"] if row["metric"] == report["metric"]]
    keys = ("mean", "low", "high", "difference", "difference_low", "difference_high")
    return [Cell(named[row["variant"]], column, row["metric"], *(row[key] for key in keys)) for row in found]


def correlations(cells: list[Cell], starts: dict[str, Path]) -> dict[str, dict[str, tuple[float, int]]]:
    """Rank correlation of each statistic with each column's metric over the starts that have both, and their number.

    Args:
        cells: of the matrix.
        starts: run directories by row.

    Returns:
        Statistic -> column -> correlation, -1..1, and number of starts; without columns of fewer than 4 starts.
    """
    from scipy.stats import spearmanr

    known = {name: {row["metric"]: row["value"] for row in results(folder)} for name, folder in starts.items()}
    found: dict[str, dict[str, tuple[float, int]]] = {}
    for statistic in WATCHED:
        for column in dict.fromkeys(cell.column for cell in cells):
            mine = [cell for cell in cells if cell.column == column and statistic in known.get(cell.row, {})]
            if len(mine) >= FEWEST:
                pairs = [known[cell.row][statistic] for cell in mine], [cell.mean for cell in mine]
                found.setdefault(statistic, {})[column] = float(spearmanr(*pairs).statistic), len(mine)
    return found


def results(folder: Path) -> list[dict[str, Any]]:
    """Rows of a run's `results.json`."""
    return json.loads((folder / "results.json").read_text())["results"]


def run(*words: str) -> None:
    """A command of `cli.py` in this process.

    Raises:
        SystemExit: it failed.
    """
    with surroundings():
        if code := graft(list(words)):
            raise SystemExit(code)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Pretrain the rows, fine-tune them in the columns, and write `matrix.md` and `matrix.png`."""
    options = parser(__doc__)
    options.add_argument("--out", type=Path, default=RESULTS / "matrix", help="folder of runs, table and figure")
    options.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    options.add_argument("--columns", nargs="+", choices=list(COLUMNS), default=list(COLUMNS))
    options.add_argument("--seeds", type=int, default=3, help="of the fine-tuning; a pretraining has seed 0")
    args, typed = options.parse_known_args(argv)
    rows = {name: (args.out / "starts" / name).resolve() for name in args.rows if name != NONE}
    for name, folder in rows.items():
        pretrain(name, folder, 0, typed)
    cells: list[Cell] = []
    for column in args.columns:
        cells += transfer(column, rows, (args.out / column).resolve(), args.seeds, typed)
        title = f"{LABELED} labeled images, {args.seeds} seeds; below the mean the difference to random weights"
        draw(cells, title, args.out / "matrix.png")
        (args.out / "matrix.md").write_text(markdown(cells))
    found = correlations(cells, rows)
    tables = "\n".join([markdown(cells), *([correlation_table(found)] if found else [])])
    (args.out / "matrix.md").write_text(tables)
    if found:
        draw_correlations(found, args.out / "correlations.png")
    print(tables)
    facts = {"seeds": args.seeds, "settings": typed, "correlations": found}
    return publish("matrix", args.json, cells=[asdict(cell) for cell in cells], **facts)


if __name__ == "__main__":
    main()
