"""Seconds until `python cli.py fit --help` is there, against importing the libraries that it stands on.

Each is a fresh process with its files in the page cache. Two rows: seconds of the wall (the mark), and of the
processor, which say more on a machine that others use too.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.report import Comparison, compare, in_pairs, parser

MARK = "<= 1.5"
HOUSE = Path(__file__).parents[1]
HELP = ["cli.py", "fit", "--help"]
IMPORTS = ["-c", "import lightning.pytorch, jsonargparse, timm"]


def seconds(arguments: list[str]) -> tuple[float, float]:
    """Seconds of the wall and of the processor that python with these arguments takes.

    Raises:
        CalledProcessError: it failed.
    """
    before, began = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=HOUSE, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=7, help="pairs of runs")
    args = options.parse_args(argv)
    for arguments in (HELP, IMPORTS):
        seconds(arguments)  # bytecode, and the files into the page cache
    runs = in_pairs(lambda: seconds(HELP), lambda: seconds(IMPORTS), args.repeats)
    wall, processor = ([[run[i] for run in side] for side in runs] for i in range(2))
    rows = [Comparison("fit --help", "s", *wall, MARK), Comparison("fit --help", "CPU s", *processor)]
    return compare("startup", f"Start, {args.repeats} pairs of processes", rows, "imports alone", args.json)


if __name__ == "__main__":
    main()
