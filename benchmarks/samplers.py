"""TPE beside random search: the best trial of `cli.py tune` on Shapes after as many trials, for each seed.

Both train the same default first and the same number of trials, with the same pruning; `--space` and further options of
`tune` may be added. Rows: the best metric on the val split, and the seconds of training that the search took. Trials
are forks of this process, which has the imports done, and so need a CPU.

    python -m benchmarks.samplers --trials 20 --trainer.max_epochs 5 --trainer.accelerator cpu
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import cli
from benchmarks.overhead import surroundings
from benchmarks.report import Comparison, compare, parser
from commands import child


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--config", default="tasks/classification.yaml")
    options.add_argument("--trials", type=int, default=20)
    options.add_argument("--seeds", type=int, default=3)
    args, typed = options.parse_known_args(argv)
    found: dict[str, list[dict[str, Any]]] = {"tpe": [], "random": []}
    with TemporaryDirectory() as folder, surroundings():
        for seed in range(args.seeds):
            for sampler, reports in found.items():
                run = Path(folder, f"{sampler}{seed}")
                words = ["--sampler", sampler, "--trials", str(args.trials), "--seeds", "0", "--run_dir", str(run)]
                reports.append(searched(["--config", args.config, *words, *typed, f"--seed_everything={seed}"], run))
    metric = found["tpe"][0]["metric"]
    best = {sampler: [_best(report) for report in reports] for sampler, reports in found.items()}
    pairs = enumerate(zip(best["tpe"], best["random"], strict=True))
    rows = [Comparison(f"best {metric}, seed {seed}", "", [ours], [peer]) for seed, (ours, peer) in pairs]
    spent = {sampler: [report["seconds"] for report in reports] for sampler, reports in found.items()}
    rows += [
        Comparison(f"best {metric}, all seeds", "", best["tpe"], best["random"]),
        Comparison("training", "s", spent["tpe"], spent["random"]),
    ]
    defaults = [next(t["value"] for t in report["trials"] if t["number"] == 0) for report in found["tpe"]]
    facts = {"trials": args.trials, "options": typed, "default": defaults}
    title = f"TPE and random, {args.trials} trials, {args.seeds} seeds"
    return compare("samplers", title, rows, "random", args.json, **facts)


def searched(typed: list[str], folder: Path) -> dict[str, Any]:
    """The tune.json of one search."""
    before, child.wait = child.wait, forked
    try:
        code = cli.main(["tune", *typed])
    finally:
        child.wait = before
    if code:
        sys.exit(code)
    return json.loads((folder / "tune.json").read_text())


def forked(command: list[str], log: IO[str], lock: Any, variables: Any, watch: Callable[[], bool] | None) -> int:
    """Run a command of this program in a fork; the signature is that of `child.wait`."""
    pid = os.fork()
    if not pid:
        code = 70
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            code = cli.main(command[2:])
        finally:
            os._exit(code)
    told = False
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        time.sleep(0.05)
        if watch and not told and watch():
            told = True
            os.kill(pid, signal.SIGTERM)
    return os.waitstatus_to_exitcode(ended[1])


def _best(report: dict[str, Any]) -> float:
    return next(trial["value"] for trial in report["trials"] if trial["number"] == report["best trial"])


if __name__ == "__main__":
    main()
