"""Reports of benchmarks: measurements in pairs, with the machine and the versions they were made with."""

import json
import os
import platform
import time
from argparse import ArgumentParser
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.table import Table

T = TypeVar("T")
LIBRARIES = (
    "torch",
    "torchvision",
    "lightning",
    "timm",
    "albumentations",
    "opencv-python-headless",
    "pillow",
    "av",
    "lightly",
    "faster-coco-eval",
    "pycocotools",
)
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Comparison:
    """One quantity of ours beside a peer's, measured in pairs: entry i of both ran one after the other.

    Args:
        what: the quantity's name.
        unit: of the values.
        ours: one value per repeat.
        peer: one value per repeat.
        mark: the ratio ours / peer to reach, such as `>= 2.5`; empty when there is none.
    """

    what: str
    unit: str
    ours: list[float]
    peer: list[float]
    mark: str = ""

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.ours, self.peer, strict=True)]

    @property
    def holds(self) -> bool | None:
        """True if the median ratio meets the mark; null without one."""
        if not self.mark:
            return None
        sign, limit = self.mark.split()
        ratio = median(self.ratios)
        return ratio >= float(limit) if sign == ">=" else ratio <= float(limit)


def in_pairs(ours: Callable[[], T], peer: Callable[[], T], repeats: int) -> tuple[list[T], list[T]]:
    """Run both `repeats` times, alternately and in alternating order, so that other load of the machine hits both."""
    first: list[T] = []
    second: list[T] = []
    for repeat in range(repeats):
        turns = [(ours, first), (peer, second)]
        for run, results in turns if repeat % 2 == 0 else reversed(turns):
            results.append(run())
    return first, second


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a process of its own, which inherits no settings of this one; returns its result."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def seconds(device: torch.device) -> float:
    """Seconds of the process; with a GPU those of the wall, after its queued work is done."""
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def parser(description: str | None) -> ArgumentParser:
    """Argument parser with the options that all benchmarks have."""
    options = ArgumentParser(description=(description or "").partition("\n")[0])
    where = f"also write a JSON file; without PATH into {RESULTS.name}/"
    options.add_argument("--json", nargs="?", type=Path, const=Path(), metavar="PATH", help=where)
    return options


def machine() -> dict[str, Any]:
    """Hardware, system, load and library versions of the measurements."""
    gpu = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return {
        "machine": ", ".join([_processor(), f"{os.cpu_count()} cores", *gpu]),
        "system": platform.platform(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {p: v for p in ("graft", *LIBRARIES) if (v := _version(p))},
    }


def compare(
    name: str, title: str, rows: list[Comparison], peer: str, json_path: Path | None, **facts: Any
) -> dict[str, Any]:
    """Print rows as a table of medians and all of it as JSON; returns the JSON.

    Args:
        name: of the benchmark.
        title: of the table.
        rows: the measurements.
        peer: heading of the peer's column.
        json_path: a file to write; `Path()` means results/NAME.json; null writes none.
        facts: conditions of the measurements.
    """
    table = Table(title=title, title_justify="left")
    for heading in ("what", "unit", "ours", peer, "ratio", "range", "mark"):
        table.add_column(heading, justify="left" if heading in ("what", "unit", "mark") else "right", no_wrap=True)
    for row in rows:
        ratios = row.ratios
        verdict = {None: "", True: f"{row.mark} met", False: f"{row.mark} [red]missed[/]"}[row.holds]
        spread = f"{min(ratios):.2f}..{max(ratios):.2f}"
        values = (f"{median(row.ours):,.4g}", f"{median(row.peer):,.4g}", f"{median(ratios):.2f}", spread)
        table.add_row(row.what, row.unit, *values, verdict)
    console = Console()
    wide = console.measure(table, options=console.options.update(max_width=999)).maximum
    console.width = max(console.width, wide)  # a log file has no width of its own
    console.print(table)
    compared = [asdict(row) | {"ratio": median(row.ratios), "holds": row.holds} for row in rows]
    return publish(name, json_path, peer=peer, rows=compared, **facts)


def publish(name: str, json_path: Path | None, **report: Any) -> dict[str, Any]:
    """Print a report with machine and versions as one line of JSON, and write it like `compare`; returns it."""
    report = {"benchmark": name, **report, **machine()}
    print(json.dumps(report))
    if json_path is not None:
        path = json_path if json_path.name else RESULTS / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=2) + "\n")
    return report


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
