"""`cli.py serve` under the load of a second process, against the same network and files without HTTP.

The peer decodes and predicts batch by batch in this process, before and after the load. Memory is that of the server
after a tenth of the load and at its end. On a machine of two cores the load takes a part of them too, which is printed,
and where others use it images per second of the processor say more.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

import numpy as np

from benchmarks.report import Comparison, compare, parser
from commands.predictor import Predictor
from commands.silence import silence_messages
from datamodules.finding import find_images

HOUSE = Path(__file__).parents[1]
RATIO = ">= 0.9"
GROWTH = "<= 1.1"
FIT = "--data.train 64 --data.val 16 --data.test 16 --data.batch_size 16 --data.workers 0 --trainer.max_epochs 1"
FIT += " --figures.samples 1 --model.backbone resnet18 --model.small_images false"


def train(folder: Path, image_size: int, options: list[str]) -> Path:
    """The run directory of a short classification of the built-in images."""
    typed = [*FIT.split(), "--data.image_size", str(image_size), "--run_dir", str(folder / "run"), *options]
    command = [sys.executable, "cli.py", "fit", "--config", "tasks/classification.yaml", *typed]
    subprocess.run(command, cwd=HOUSE, check=True, stdout=subprocess.DEVNULL)
    return folder / "run"


def batched(predictor: Predictor, bodies: list[bytes], seconds: float) -> tuple[float, float]:
    """Images per second, and per second of the processor, without HTTP, one batch after the other."""
    predictor(bodies)  # warm
    began, before, count = time.monotonic(), time.process_time(), 0
    while time.monotonic() - began < seconds:
        count += len(predictor(bodies))
    return count / (time.monotonic() - began), count / (time.process_time() - before)


def processor(pid: int) -> float:
    """Seconds of the processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def counters(url: str) -> dict[str, float]:
    """Counters of the server, by name."""
    with urlopen(f"{url}/metrics") as answer:
        rows = (line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in rows}


def under_load(run: Path, root: Path, connections: int, seconds: float) -> dict[str, Any]:
    """Answers of the server to the load, its memory early and at the end, its mean batch, and CPU ms of the load."""
    serve = [sys.executable, str(HOUSE / "cli.py"), "serve", "--ckpt_path", str(run), "--port", "0"]
    load = [sys.executable, "-m", "benchmarks.http_load", "--root", str(root), "--connections", str(connections)]
    with subprocess.Popen(serve, cwd=HOUSE, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = re.search(r"http://[\d.:]+", server.stdout.readline())[0]
            counted, used = [], []
            for share in (0.1, 0.9):
                used.append(processor(server.pid))
                more = ["--url", f"{url}/predict", "--seconds", str(share * seconds)]
                found = json.loads(subprocess.check_output([*load, *more], cwd=HOUSE, text=True))
                counted.append(counters(url))
            used.append(processor(server.pid))
        finally:
            server.terminate()
    early, late = counted
    samples, batches = (late[key] - early[key] for key in ("graft_samples_total", "graft_batches_total"))
    answered = found["codes"].get("200", 0)
    return found | {
        "memory": [one["process_resident_memory_bytes"] / 2**20 for one in counted],
        "per_cpu": answered / (used[2] - used[1]),
        "load": 1000 * found["cpu"] / answered,
        "batch": samples / batches,
    }


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--root", type=Path, required=True, help="folder of image files")
    options.add_argument("--ckpt_path", type=Path, help="run to serve; default a ResNet-18 trained for a moment")
    options.add_argument("--image_size", type=int, default=224, help="of that")
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--seconds", type=float, default=60, help="of the load")
    args, more = options.parse_known_args(argv)
    bodies = [path.read_bytes() for path in find_images(args.root)]
    with TemporaryDirectory() as folder:
        silence_messages()
        run = args.ckpt_path or train(Path(folder), args.image_size, more)
        predictor, few = Predictor.load(run), args.seconds / 6
        alone = [batched(predictor, bodies[:64], few)]
        found = under_load(run, args.root, args.connections, args.seconds)
        alone.append(batched(predictor, bodies[:64], few))
    took, failed = np.array(found["seconds"]), {code: n for code, n in found["codes"].items() if code != "200"}
    rows = [
        Comparison("answers under load", "images/s", [found["rate"]], [float(np.mean(alone, 0)[0])], RATIO),
        Comparison("the same", "images/CPU s", [found["per_cpu"]], [float(np.mean(alone, 0)[1])]),
        Comparison("memory at the end", "MiB", found["memory"][1:], found["memory"][:1], GROWTH),
    ]
    print(f"{found['codes'].get('200', 0):,} answers over {args.connections} connections, failed: {failed or 'none'}")
    p50, p99 = np.percentile(1000 * took, [50, 99])
    print(
        f"latency: p50 {p50:.0f} ms, p99 {p99:.0f} ms; alone {', '.join(f'{rate:.1f}' for rate, _ in alone)} images/s"
    )
    print(f"batches of {found['batch']:.1f} on the average; the load took {found['load']:.2f} ms of CPU an answer")
    about = {"failed": failed, "p50_ms": p50, "p99_ms": p99, "batch": found["batch"], "load_cpu_ms": found["load"]}
    return compare("serving", "Serving", rows, "without HTTP; early", args.json, **about)


if __name__ == "__main__":
    main()
