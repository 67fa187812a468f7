"""Choice of `cli.py advise` beside a full grid: is it as good as the best of all, and how much sooner is it made?

    python -m benchmarks.advise --roots CIFAR FACES DIGITS --out advise --budget 9m --methods simclr,vicreg,dino,supcon

For each image folder `advise` races the candidates by successive halving. Then the same command with --grid trains all
of them for as long as the race trained its last two. The choice is held against the best of the grid, as the grid has
both, paired by val image: it is as good if the 95 % interval of the difference contains 0. More options of `cli.py fit`
hold for all trainings. What is finished in `--out` is not trained again.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.overhead import surroundings
from benchmarks.report import RESULTS, parser, publish
from cli import main as graft
from commands.advise.judge import Judged, apart
from commands.advise.plan import OVERHEAD, SHORTEST


def race(folder: Path, root: Path, budget: str, methods: str, typed: list[str]) -> dict[str, Any]:
    """Run `advise`, or go on with it; returns its advise.json.

    Raises:
        SystemExit: it failed.
    """
    words = ["--data=ImageFolder", f"--data.root={root}", f"--budget={budget}", f"--methods={methods}"]
    done = folder / "advise.json"
    if not (done.is_file() and "answer" in json.loads(done.read_text())):
        with surroundings():
            if code := graft(["advise", *words, "--weights=none", f"--run_dir={folder}", *typed]):
                raise SystemExit(code)
    return json.loads(done.read_text())


def last(found: dict[str, Any]) -> dict[str, Judged]:
    """Results of the last rung, the best first."""
    results = {name: Judged(**one) for name, one in found["rungs"][-1]["results"].items()}
    return dict(sorted(results.items(), key=lambda item: -item[1].probe))


def row(root: Path, out: Path, budget: str, methods: str, typed: list[str]) -> dict[str, Any]:
    """Race and grid on one folder."""
    raced = race(out / "race", root, budget, methods, typed)
    finals = last(raced)
    choice = next(iter(finals))
    share = sum(one.seconds for one in finals.values()) / len(finals)
    timed = sum(overhead + 8 * pace for overhead, pace in raced["speeds"].values())
    seconds = len(raced["raced"]) * max(share + 5, SHORTEST + OVERHEAD) + timed + 1  # 5 to judge
    whole = race(out / "grid", root, f"{seconds:.0f}s", ",".join(raced["raced"]), ["--grid", *typed])
    grid = last(whole)
    best = next(iter(grid))
    gap = apart(grid[choice], grid[best], out / "grid")
    return {
        "data": root.name,
        "choice": choice,
        "best of the grid": best,
        "probes": {name: one.probe for name, one in grid.items()},
        "difference": gap.value,
        "low": gap.low,
        "high": gap.high,
        "as good": choice == best or not gap.distinguishable,
        "seconds": {"race": raced["seconds"], "grid": whole["seconds"]},
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| data | choice | all candidates in the grid, linear probe | choice minus best [95 % interval] |",
        "|---" * 4 + "|",
    ]
    for one in rows:
        probes = ", ".join(f"`{name}` {100 * value:.1f} %" for name, value in one["probes"].items())
        gap = f"{100 * one['difference']:+.1f} [{100 * one['low']:+.1f}, {100 * one['high']:+.1f}]"
        lines.append(f"| {one['data']} | `{one['choice']}` | {probes} | {gap} |")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Race and grid on every folder, and write `advise.md`."""
    options = parser(__doc__)
    options.add_argument("--roots", type=Path, nargs="+", required=True, help="folders of images as ImageFolder takes")
    options.add_argument("--out", type=Path, default=RESULTS / "advise", help="folder of races and table")
    options.add_argument("--budget", default="9m", help="of each race")
    options.add_argument("--methods", default="simclr,vicreg,dino,supcon,rotation")
    args, typed = options.parse_known_args(argv)
    rows = []
    for root in args.roots:
        rows.append(row(root.resolve(), (args.out / root.name).resolve(), args.budget, args.methods, typed))
        (args.out / "advise.md").write_text(markdown(rows))
    print(markdown(rows))
    return publish("advise", args.json, rows=rows, settings=typed)


if __name__ == "__main__":
    main()
