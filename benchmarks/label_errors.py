"""Precision of the first suspects of a run when a share of the labels of a data set is wrong.

The images of an ImageFolder are copied, some into the folder of another class, drawn uniformly. `cli.py fit` trains on
half of them, wrong labels included, and judges the labels of the other half after its last epoch. A random ranking has
as its precision the share of wrong labels.
"""

import csv
import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.fits import TASKS
from benchmarks.overhead import surroundings
from benchmarks.report import parser, publish
from commands.fit import CLI
from commands.silence import silence_messages

MARK = 0.6


def mislabel(source: Path, target: Path, share: float, seed: int) -> set[str]:
    """Copy CLASS/* of `source` to `target`, a share of them to a wrong class; returns the paths of those."""
    random, wrong = np.random.default_rng(seed), set()
    files = sorted(path for path in source.glob("*/*") if path.is_file())
    classes = sorted({path.parent.name for path in files})
    for name in classes:
        (target / name).mkdir(parents=True)
    flipped = set(random.permutation(len(files))[: round(share * len(files))].tolist())
    for index, path in enumerate(files):
        name = path.parent.name
        if index in flipped:
            name = random.choice([other for other in classes if other != name])
            wrong.add(f"{name}/{index:06}{path.suffix}")
        shutil.copy(path, target / name / f"{index:06}{path.suffix}")
    return wrong


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Print the precision of the first hundred suspects beside that of a random ranking."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, required=True, help="folder with a folder of images for each class")
    options.add_argument("--share", type=float, default=0.05, help="of wrong labels, 0..1")
    options.add_argument("--first", type=int, default=100, help="suspects that are judged")
    options.add_argument("--seed", type=int, default=0)
    args, typed = options.parse_known_args(argv)
    with TemporaryDirectory() as folder, surroundings():
        wrong = mislabel(args.root.resolve(), Path(folder, "images", "train"), args.share, args.seed)
        silence_messages()
        words = f"--data=ImageFolder --data.root={folder}/images --data.val_split=0.5 --run_dir={folder}/run".split()
        run = CLI(["fit", f"--config={TASKS / 'classification.yaml'}", *words, *typed])
        with Path(folder, "run", "predictions", "val_suspects.csv").open(newline="") as file:
            found = [row["path"] for row in csv.DictReader(file)]
        names = {name for batch in run.datamodule.plain_dataloader("val") for name in batch["id"]}
    hits = [name in wrong for name in _relative(found[: args.first])]
    random = sum(name in wrong for name in _relative(names)) / len(names)
    precision = float(np.mean(hits)) if hits else 0.0
    verdict = "met" if precision >= MARK else "missed"
    print(f"first {len(hits)} of {len(found):,} suspects among {len(names):,} labels, {random:.1%} of them wrong")
    print(f"precision {precision:.3f} (mark >= {MARK}, {verdict}), of a random ranking {random:.3f}")
    accuracy = float(run.trainer.callback_metrics["val/accuracy"])
    facts = {"precision": precision, "random": random, "suspects": len(found), "labels": len(names)}
    return publish("label_errors", args.json, mark=MARK, **facts, val_accuracy=accuracy)


def _relative(names: Iterable[str]) -> list[str]:
    """CLASS/FILE of paths."""
    return ["/".join(Path(name).parts[-2:]) for name in names]


if __name__ == "__main__":
    main()
