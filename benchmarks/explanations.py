"""Attribution maps beside captum in one run, and whether those of a run are true to the built-in world.

    python -m benchmarks.explanations speed
    python -m benchmarks.explanations truth [--ckpt_path RUN]

`speed`: occlusion of an image by ResNet-18 as `cli.py explain` does it with folded batch norms, beside captum as it
comes (a window in each pass) and with 32 windows at once, and Grad-CAM beside the prediction of the same images; in CPU
time.
`truth`: `cli.py explain` of a classification or detection of built-in images, whose objects are known: pointing game,
energy inside of the object, deletion beside a random map, and random weights, each with its interval and mark. Without
a run it trains `tasks/classification.yaml` for `--minutes`.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.fits import TASKS
from benchmarks.overhead import surroundings
from benchmarks.report import Comparison, compare, in_pairs, parser, publish
from commands.fit import CLI
from commands.silence import silence_messages
from modules.backbones import Timm
from modules.backbones.fold_batchnorm import folded
from modules.insight.cams import CAMS, cam
from modules.insight.perturbation import occlusion
from modules.insight.subject import Subject

PATCH, TARGET = 16, 3
ALLOWED = 1e-4  # difference of the maps, of their largest value
METHODS = ("layercam", "gradcam", "occlusion", "integrated_gradients")
MARKS = {
    "Classification": {"pointing": ">= 0.8", "deletion_below_random": "> 0", "randomized": "<= 0.3"},
    "Detection": {"energy": ">= 0.6", "neighbor_energy_ratio": "<= 1"},
}


def seconds(work: Callable[[], Any]) -> float:
    """CPU time of a call in seconds, over all threads: other jobs of the machine count little."""
    began = time.process_time()
    work()
    return time.process_time() - began


def speed(name: str, side: int, images: int, repeats: int) -> list[Comparison]:
    """CPU times of occlusion and of Grad-CAM."""
    from captum.attr import Occlusion

    torch.manual_seed(0)
    backbone = Timm(name).eval()
    head = nn.Linear(backbone.features.pooled, 10).requires_grad_(False)
    plain = nn.Sequential(backbone.net, head)  # its batch norms and memory format are as they were made
    fast = folded(backbone).to(memory_format=torch.channels_last)
    batch = torch.randn(images, 3, side, side).contiguous(memory_format=torch.channels_last)

    def score(inputs: Tensor, rows: Tensor) -> Tensor:
        return head(fast.pool(fast(inputs)))[:, TARGET]

    subject = Subject(batch, score, nn.ModuleDict({"backbone": fast, "head": head}), fast)
    one, peer = Subject(batch[:1], score, subject.network, fast), Occlusion(plain)
    window = {"sliding_window_shapes": (3, PATCH, PATCH), "strides": (3, PATCH, PATCH), "target": TARGET}

    def theirs(at_once: int = 1) -> Tensor:
        with torch.inference_mode():
            return peer.attribute(batch[:1].contiguous(), **window, perturbations_per_eval=at_once)[:, 0]

    def ours() -> Tensor:
        return occlusion(one, (PATCH, PATCH), (PATCH, PATCH))

    expected = theirs()
    error = float((ours() - expected).abs().max() / expected.abs().max())
    assert error < ALLOWED, f"the maps differ by {error:g}"
    many = in_pairs(lambda: seconds(ours), lambda: seconds(lambda: theirs(32)), repeats)
    single = in_pairs(lambda: 1 / seconds(ours), lambda: 1 / seconds(theirs), repeats)
    maps = in_pairs(
        lambda: seconds(lambda: cam(subject, CAMS["gradcam"], "-1")),
        lambda: seconds(lambda: subject.scores(batch, subject.rows)),
        repeats,
    )
    what = f"occlusion, {PATCH} of {side} px"
    return [
        Comparison(f"{what} | captum", "maps/CPU s", *single, ">= 3"),
        Comparison(f"{what} | captum, 32 windows at once", "CPU s", *many),
        Comparison(f"Grad-CAM of {images} images | their prediction", "CPU s", *maps, "<= 1.5"),
    ]


def truth(run: Path | None, minutes: float, count: int, typed: list[str]) -> dict[str, Any]:
    """Explain samples of a run's test split, and print each measure with its interval and mark.

    Args:
        run: that is explained; null trains one.
        minutes: that it is trained for.
        count: samples.
        typed: settings of `explain`, or of `fit` if it trains.
    """
    with TemporaryDirectory() as folder, surroundings():
        silence_messages()
        if run is None:
            run = Path(folder, "run")
            limit = f"00:00:{int(minutes):02}:{round(60 * minutes) % 60:02}"
            config = ["--config", str(TASKS / "classification.yaml"), "--trainer.max_time", limit]
            CLI(["fit", *config, "--run_dir", str(run), *typed])
            typed = []
        words = ["--ckpt_path", str(run.resolve()), "--method", ",".join(METHODS), "--count", str(count)]
        task = CLI(["explain", *words, "--depths", "1", "--run_dir", f"{folder}/out", *typed]).model
        rows = json.loads(Path(folder, "out", "results.json").read_text())["results"]
    return {row["metric"].partition("/")[2]: judged(row, MARKS.get(type(task).__name__, {})) for row in rows}


def judged(row: dict[str, Any], marks: dict[str, str]) -> dict[str, Any]:
    """Print a row of `results.json`; returns its value and interval, with its mark and whether it is met.

    Args:
        row: of a method and measure.
        marks: by measure; `> 0` is one of the interval's lower end.
    """
    name, value = row["metric"].partition("/")[2], row["value"]
    low, high = row["interval"] or (value, value)
    method = next((method for method in METHODS if name.startswith(method)), None)
    mark = marks.get(name.removeprefix(f"{method}_"), "") if method else ""
    sign, _, limit = mark.partition(" ")
    met = {"": None, ">": low > 0, ">=": value >= float(limit or 0), "<=": value <= float(limit or 0)}[sign]
    print(f"{name:44}{value:7.3f} [{low:.3f}, {high:.3f}]  {mark} {'' if met is None else 'met' if met else 'missed'}")
    return {"value": value, "interval": row["interval"], "mark": mark, "met": met}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run a part."""
    options = parser(__doc__)
    options.add_argument("part", choices=("speed", "truth"))
    options.add_argument("--ckpt_path", type=Path, help="run of truth; null trains one")
    options.add_argument("--minutes", type=float, default=2, help="of that training")
    options.add_argument("--count", type=int, default=100, help="images of Grad-CAM, or samples of truth")
    options.add_argument("--backbone", default="resnet18", help="network of speed")
    options.add_argument("--side", type=int, default=224, help="of the images of speed, in pixels")
    options.add_argument("--repeats", type=int, default=3, help="pairs of runs of speed")
    args, typed = options.parse_known_args(argv)
    if args.part == "truth":
        return publish("explanations", args.json, results=truth(args.ckpt_path, args.minutes, args.count, typed))
    if typed:
        options.error(f"{' '.join(typed)}: speed takes no settings of a command")
    rows = speed(args.backbone, args.side, args.count, args.repeats)
    title = f"Explanations, {args.backbone}, images of {args.side} px, {torch.get_num_threads()} threads"
    return compare("explanations", title, rows, "peer", args.json, side=args.side, images=args.count)


if __name__ == "__main__":
    main()
