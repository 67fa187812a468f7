"""Adversarial training beside ordinary training: accuracy with and without attack, and the difference with intervals.

Both train by `cli.py fit` on the same images for the same epochs, and are attacked by `cli.py attack`, PGD of 10 steps:
at 8/255 toward any other class and toward a random one, and over sizes up to that.
"""

import csv
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.fits import TASKS
from benchmarks.overhead import surroundings
from benchmarks.report import parser, publish
from commands.attack.command import attack
from commands.fit import CLI
from commands.silence import silence_messages
from modules.metrics.bootstrap import Items, difference
from modules.metrics.bootstrap.records import means

SIZES = ("1/255", "2/255", "4/255", "8/255")
MARKS = {"fooled": 0.95, "targeted": 0.8, "ratio": 2.0}
SETTINGS = "--data.image_size 32 --data.crop [0.6,1.0] --model.backbone test_resnet --model.small_images true".split()


def train(root: Path, folder: Path, typed: list[str]) -> Path:
    """Train on an ImageFolder; returns the run directory, `folder`."""
    words = ["--data", "ImageFolder", "--data.root", str(root), "--run_dir", str(folder), "--figures.samples", "1"]
    CLI(["fit", f"--config={TASKS / 'classification.yaml'}", *SETTINGS, *words, *typed])
    return folder


def attacked(run: Path, folder: Path, count: int, *typed: str) -> tuple[dict[tuple[str, str], dict], Items | None]:
    """Results by metric and size of an attack on a run, and its samples: right or wrong, clean and at each size."""
    attack(["--ckpt_path", str(run), "--num_images", str(count), "--out", str(folder), *typed])
    (written,) = folder.glob("*.json")
    results = {(row["metric"], row["eps"]): row for row in json.loads(written.read_text())["results"]}
    with written.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = {"clean": np.array([float(row["class"] == row["answer"]) for row in rows])}
    for size in [name.removeprefix("after ") for name in rows[0] if name.startswith("after ")]:
        right[size] = right["clean"] * [row["class"] == row[f"after {size}"] for row in rows]
    return results, Items(np.array([row["id"] for row in rows]), means(right))


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Print accuracies, the success of attacks, and the differences between both trainings."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, required=True, help="folder with train/CLASS and test/CLASS")
    options.add_argument("--standard", type=Path, help="finished run of ordinary training; null trains it")
    options.add_argument("--robust", type=Path, help="finished run of adversarial training; null trains it")
    options.add_argument("--num_images", type=int, default=1000, help="that are attacked")
    options.add_argument("--epochs", type=int, default=15)
    options.add_argument("--train_eps", default="4/255", help="size of the change in training")
    options.add_argument("--train_steps", type=int, default=2, help="gradient steps in training")
    args, typed = options.parse_known_args(argv)
    more = ["--trainer.max_epochs", str(args.epochs), *typed]
    against = ["--model.adversarial", "pgd", "--model.adversarial_eps", args.train_eps]
    against += ["--model.adversarial_steps", str(args.train_steps)]
    sizes = ["--eps", ",".join(SIZES)]
    silence_messages()
    with TemporaryDirectory() as name, surroundings():
        place, root = Path(name), args.root.resolve()
        standard = args.standard or train(root, place / "standard", more)
        robust = args.robust or train(root, place / "robust", [*more, *against])
        found, items = attacked(standard, place / "a", args.num_images, *sizes)
        targeted, _ = attacked(standard, place / "t", args.num_images, "--eps", "8/255", "--target", "random")
        better, other = attacked(robust, place / "b", args.num_images, *sizes)
    for metric, size in [("accuracy", ""), *(("robust_accuracy", size) for size in SIZES)]:
        pair = " | ".join(_percent(each[metric, size]) for each in (found, better))
        apart = difference([other], [items])[size or "clean"]
        ends = "" if apart is None else f" [{100 * apart.low:+.1f}, {100 * apart.high:+.1f}]"
        shift = 100 * (better[metric, size]["value"] - found[metric, size]["value"])
        print(f"| {f'PGD-10 at {size}' if size else 'clean'} | {pair} | {shift:+.1f}{ends} |")
    key = ("robust_accuracy", "4/255")
    values = {
        "fooled": found["fooled", "8/255"]["value"],
        "targeted": targeted["target_rate", "8/255"]["value"],
        "ratio": better[key]["value"] / max(found[key]["value"], 1e-9),
    }
    for name, value in values.items():
        print(f"{name} {value:.3g} (mark >= {MARKS[name]:g}, {'met' if value >= MARKS[name] else 'missed'})")
    facts = {
        which: {" ".join(key).strip(): row["value"] for key, row in each.items()}
        for which, each in (("standard", found), ("robust", better))
    }
    return publish("robustness", args.json, **values, marks=MARKS, images=args.num_images, **facts)


def _percent(result: dict) -> str:
    low, high = (100 * end for end in result["interval"] or (result["value"],) * 2)
    return f"{100 * result['value']:.1f} % [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    main()
