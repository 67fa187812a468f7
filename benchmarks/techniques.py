"""Accuracy that each training technique brings, in equal time: each against the same run without it.

    python -m benchmarks.techniques --root CIFAR --out techniques
    python -m benchmarks.techniques --root CIFAR --out techniques --only MixUp SAM --seeds 0 1 2 3 4

The reference is `cli.py fit` of classification with `BASE`: timm's test_resnet from scratch on images of 32 pixels.
A row adds the options of one technique (`technique_rows.py`), or takes out what the reference has.

Equal time without a quiet machine: first the CPU time of a training step, loading included, is measured in turn with
the reference's, in one process on one thread; the median ratio is the cost of a step. A run then gets `--steps` divided
by that cost, and its schedule spans these steps. From there on nothing depends on the load of the machine. Techniques
whose steps do what the reference's do have a cost of 1 by definition; those at test time use its trained runs.

All images in `test/` are judged once, by the last weights. The difference to the reference is paired by seed and by
image, with a 95 % interval of crossed random effects (`modules.metrics.bootstrap`); where it contains 0, the two are
not distinguishable. Every finished run is a line in `runs.jsonl` of `--out`; the same command goes on where it was
stopped. More options of `cli.py fit` hold for every run.
"""

import json
import re
import shutil
import time
from math import ceil
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.fits import TASKS
from benchmarks.overhead import WARM_UP, surroundings
from benchmarks.report import RESULTS, in_pairs, parser, publish
from benchmarks.technique_report import draw, markdown, summarize
from benchmarks.technique_rows import OTHERS, TECHNIQUES, Technique
from callbacks import Figures, LearningCurves
from callbacks.results.uncertainty import TEST_ITEMS
from commands.fit import CLI
from commands.silence import silence_messages
from modules.contracts import DataError
from modules.metrics.bootstrap import load, mean

BASE = (
    "--data ImageFolder --data.image_size 32 --data.workers 0 "
    "--model.backbone test_resnet --model.optim.lr 0.01 --trainer.limit_val_batches 0 --checkpoint.every_n_steps 0"
).split()
PLAIN = Technique("reference", "", "", same_step=True)


class Bench:
    """Runs of one folder, which are resumed from there.

    Args:
        out: gets `costs.json`, `runs.jsonl`, test items and the runs of the reference.
        steps: of the reference.
        seeds: of the runs.
        more: options of `cli.py fit` for all runs, behind `BASE`.
    """

    def __init__(self, out: Path, steps: int, seeds: list[int], more: list[str]):
        self.out, self.steps, self.seeds, self.base = out, steps, seeds, [*BASE, *more]
        (out / "items").mkdir(parents=True, exist_ok=True)
        costs, runs = out / "costs.json", out / "runs.jsonl"
        self.costs: dict[str, float] = json.loads(costs.read_text()) if costs.is_file() else {}
        rows = [json.loads(line) for line in runs.read_text().splitlines()] if runs.is_file() else []
        self.runs: dict[tuple[str, int], dict[str, Any]] = {(row["name"], row["seed"]): row for row in rows}

    def cost(self, technique: Technique, steps: int, repeats: int) -> float:
        """CPU time of a training step over that without the technique, the median of pairs; measured once.

        Args:
            technique: the row.
            steps: that are measured, behind the warm-up.
            repeats: number of pairs.
        """
        if technique.same_step:
            return 1.0
        key = " ".join([*self.base, *technique.words])
        if key not in self.costs:
            pairs = in_pairs(lambda: self._seconds(technique.words, steps), lambda: self._seconds([], steps), repeats)
            ratio = median(own / reference for own, reference in zip(*pairs, strict=True))
            self._note_cost(key, 1 / ratio if technique.kind == "removes" else ratio)
        return self.costs[key]

    def run(self, technique: Technique, seed: int, cost: float) -> dict[str, Any]:
        """Train and test a technique with a seed, if that is not done; returns its line.

        Raises:
            DataError: the loss became nan or infinite.
        """
        steps, words = equal_time(self.steps, cost, technique.kind), [*self.base, *technique.words]
        done = self.runs.get((technique.name, seed))
        if done and (done["options"], done["steps"]) == (words, steps):
            return done
        with TemporaryDirectory() as name:
            began, folder = time.process_time(), Path(name, "run")
            if technique.kind == "tests":
                self._test(technique, seed, folder)
            else:
                ends = [f"--trainer.max_steps={steps}", f"--trainer.max_epochs={ceil(steps / self.epoch)}"]
                fit([*self.base, *ends, f"--seed_everything={seed}", *technique.words], folder)
            seconds = time.process_time() - began
            shutil.copy(folder / TEST_ITEMS, self.items(technique.name, seed))
            results = json.loads((folder / "results.json").read_text())["results"]
            if technique is PLAIN:
                shutil.copytree(folder, self._reference(seed), dirs_exist_ok=True)
        (accuracy,) = [row["value"] for row in results if row["metric"] == "test/accuracy"]
        row = {"name": technique.name, "seed": seed, "options": words, "steps": steps, "accuracy": accuracy}
        row["seconds"] = round(seconds, 1)
        self.runs[technique.name, seed] = row
        with (self.out / "runs.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        return row

    @property
    def epoch(self) -> int:
        """Steps of an epoch, which averages over the last epochs count by."""
        key = "steps of an epoch: " + " ".join(self.base)
        if key not in self.costs:
            with TemporaryDirectory() as folder:
                run = fit([*self.base, "--trainer.fast_dev_run=1"], Path(folder, "run"))
            self._note_cost(key, len(run.datamodule.train_dataloader()))
        return int(self.costs[key])

    def items(self, name: str, seed: int) -> Path:
        """File of the test items of a run."""
        return self.out / "items" / f"{re.sub(r'[^a-z0-9]+', '_', name.lower())}_{seed}.npz"

    def _reference(self, seed: int) -> Path:
        return self.out / PLAIN.name / str(seed)

    def _note_cost(self, key: str, value: float) -> None:
        self.costs[key] = value
        (self.out / "costs.json").write_text(json.dumps(self.costs, indent=1) + "\n")

    def _test(self, technique: Technique, seed: int, folder: Path) -> None:
        others = ",".join(str(self._reference(other)) for other in self.seeds if other != seed)
        words = [others if word == OTHERS else word for word in technique.words]
        command("test", f"--ckpt_path={self._reference(seed)}", f"--run_dir={folder}", *words)

    def _seconds(self, words: list[str], steps: int) -> float:
        """CPU time of some training steps behind the warm-up, loading included."""
        watch = "--trainer.callbacks+=benchmarks.overhead.Stopwatch"
        with TemporaryDirectory() as folder:
            short = [f"--trainer.fast_dev_run={WARM_UP + steps}", "--data.val_split=0", "--data.num_labels=null"]
            run = fit([*self.base, *short, watch, *words], Path(folder, "run"))
        return next(one for one in run.trainer.callbacks if type(one).__name__ == "Stopwatch").run().process


class Quiet(CLI):
    """The command line without figures, which take as long as a short training."""

    def instantiate_classes(self) -> None:
        super().instantiate_classes()
        kept = [one for one in self.trainer.callbacks if not isinstance(one, Figures | LearningCurves)]
        self.trainer.callbacks[:] = kept


def command(*words: str) -> CLI:
    """A command of `cli.py` in this process, without output."""
    with surroundings():
        silence_messages()
        return Quiet([*words])


def fit(words: list[str], folder: Path) -> CLI:
    """`cli.py fit` of classification; a technique's words come last, so that they win."""
    return command("fit", f"--config={TASKS / 'classification.yaml'}", f"--run_dir={folder}", *words)


def equal_time(steps: int, cost: float, kind: str = "adds") -> int:
    """Steps of a run with, or without, a technique that take as long as `steps` of the reference.

    Args:
        steps: of the reference.
        cost: of a step with the technique over one without.
        kind: see `Technique`.
    """
    return max(1, round(steps * cost if kind == "removes" else steps / cost))


def train(bench: Bench, techniques: list[Technique], steps: int, repeats: int) -> dict[str, float]:
    """Run the reference, then each technique with all seeds; one that diverges is named and left out of the table.

    Args:
        bench: of the runs.
        techniques: rows in their order.
        steps: see `Bench.cost`.
        repeats: see `Bench.cost`.

    Returns:
        Name -> cost of a step.
    """
    costs = {}
    for technique in (PLAIN, *techniques):
        cost = costs[technique.name] = bench.cost(technique, steps, repeats)
        for seed in bench.seeds:
            what = f"{technique.name}, seed {seed}, a step costs {cost:.2f}"
            try:
                row = bench.run(technique, seed, cost)
            except DataError as error:
                print(f"{what}: {error}", flush=True)
                continue
            said = f"{100 * row['accuracy']:.1f} % after {row['steps']} steps, {row['seconds']:.0f} s of CPU time"
            print(f"{what}: {said}", flush=True)
    return costs


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure costs and train, print the table, and draw `techniques.png`."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, required=True, help="folder with train/CLASS/*.jpg and test/CLASS/*.jpg")
    options.add_argument("--out", type=Path, default=RESULTS / "techniques", help="folder of runs, table and figure")
    options.add_argument("--steps", type=int, default=1000, help="training steps of the reference")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--only", nargs="+", metavar="NAME", choices=[one.name for one in TECHNIQUES])
    options.add_argument("--cost_steps", type=int, default=15, help="steps that the cost is measured on")
    options.add_argument("--repeats", type=int, default=3, help="pairs of measurements of the cost")
    args, typed = options.parse_known_args(argv)
    torch.set_num_threads(1)
    bench = Bench(args.out, args.steps, args.seeds, [f"--data.root={args.root.resolve()}", *typed])
    chosen = [one for one in TECHNIQUES if not args.only or one.name in args.only]
    costs = train(bench, chosen, args.cost_steps, args.repeats)
    done = [one for one in (PLAIN, *chosen) if all((one.name, seed) in bench.runs for seed in args.seeds)]
    items = {one.name: [load(bench.items(one.name, seed)) for seed in args.seeds] for one in done}
    rows = [row for one in done[1:] if (row := summarize(one, costs[one.name], items[one.name], items[PLAIN.name]))]
    reference = mean(items[PLAIN.name])["accuracy"]
    seconds = sum(bench.runs[one.name, seed]["seconds"] for one in done for seed in args.seeds)
    said = f"reference {100 * reference.value:.1f} %, {args.steps} steps, {len(args.seeds)} seeds"
    draw(rows, said, args.out / "techniques.png")
    (args.out / "techniques.md").write_text(markdown(rows))
    print(f"{said}; {seconds / 60:.0f} min of CPU time in all\n\n{markdown(rows)}")
    facts = {"steps": args.steps, "seeds": args.seeds, "seconds": seconds}
    return publish("techniques", args.json, rows=[row.facts for row in rows], reference=reference.value, **facts)


if __name__ == "__main__":
    main()
