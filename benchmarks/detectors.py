"""Detectors in equal time on a folder of objects such as BCCD: DETR, Faster R-CNN, RetinaNet and FCOS, over seeds.

    python -m benchmarks.detectors --root BCCD --minutes 10

Each is trained by `cli.py fit` from scratch on a ResNet-18, or with `--model.weights RUN` behind it from that run. One
epoch is timed first; then as many epochs as fit into the minutes are trained, with the whole schedule, and the test
images are evaluated. The interval of a mean over seeds is Student's.
"""

import math
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import t

from benchmarks.fits import fitted
from benchmarks.report import parser, publish

BOXES = [16, 32, 64, 128, 256]  # sides of anchors in pixels, one for each map
PYRAMID = {"class_path": "FPN", "init_args": {"channels": 128, "levels": 4, "extra": "pool"}}
COARSE = {"class_path": "FPN", "init_args": {"channels": 128, "levels": 3, "extra": "p6p7"}}
DETECTORS: dict[str, tuple[str, Any, dict[str, Any], float]] = {
    "DETR": ("detr", "NoNeck", {"width": 128, "layers": 3, "queries": 100, "denoising": 50}, 0.0005),
    "FasterRCNN": (
        "detection",
        PYRAMID,
        {"anchor_sizes": BOXES, "proposals": 1000, "samples": 512, "hidden": 1024},
        0.0005,
    ),
    "RetinaNet": ("detection", COARSE, {"group_norm": True}, 0.0005),
    "FCOS": ("detection", COARSE, {}, 0.0005),
}
"""YAML, neck, settings of the head and learning rate of each."""


def trained(name: str, root: Path, epochs: int, seed: int, options: list[str]) -> dict[str, float]:
    """Metrics, `seconds` and `samples_per_sec` of one training."""
    task, neck, head, rate = DETECTORS[name]
    typed = {
        "--seed_everything": seed,
        "--data": "DetectionFolder",
        "--data.root": str(root),
        "--data.image_size": [240, 320],
        "--data.batch_size": 4,
        "--model.backbone": "resnet18",
        "--model.neck": neck,
        "--model.head": {"class_path": name, "init_args": head},
        "--model.optim.lr": rate,
        "--trainer.max_epochs": epochs,
        "--trainer.check_val_every_n_epoch": epochs,
    }
    return fitted(task, typed, options)


def interval(values: list[float]) -> float:
    """Half the 95 % interval of a mean; nan of one value."""
    count = len(values)
    return float(t.ppf(0.975, count - 1)) * stdev(values) / math.sqrt(count) if count > 1 else math.nan


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__ or "")
    options.add_argument("--root", type=Path, required=True, help="folder of the data set")
    options.add_argument("--images", type=int, default=205, help="training images in it")
    options.add_argument("--minutes", type=float, default=10, help="of each training")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--detectors", nargs="+", choices=[*DETECTORS], default=[*DETECTORS])
    args, typed = options.parse_known_args(argv)
    root, rows = args.root.resolve(), []
    for name in args.detectors:
        speed = trained(name, root, 1, 0, typed)["samples_per_sec"]
        epochs = max(1, int(args.minutes * 60 * speed / args.images))
        found = [trained(name, root, epochs, seed, typed) for seed in range(args.seeds)]
        row = {
            "detector": name,
            "epochs": epochs,
            "samples_per_sec": speed,
            "seconds": mean(f["seconds"] for f in found),
        }
        for metric in ("test/map", "test/map50"):
            values = [each[metric] for each in found]
            row |= {metric: mean(values), f"{metric} ±": interval(values)}
        print(
            ", ".join(
                f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
            )
        )
        rows.append(row)
    return publish("detectors", args.json, minutes=args.minutes, seeds=args.seeds, rows=rows)


if __name__ == "__main__":
    main()
