"""Accuracy per minute of twelve small networks: each is trained for the same seconds on the same folder of images.

    python -m benchmarks.zoo --root CIFAR
    python -m benchmarks.zoo --root CIFAR --seconds 300 --networks resnet18 mobilenetv1_025

Each is one `cli.py fit` of classification from scratch, on all images in `train/`, tested on those in `test/`. The
number of steps that fit into the time is not known before, so the learning rate stays constant, and a moving average
of the weights (EMA) is tested. `--out` gets `zoo.csv` and `zoo.png`, accuracy against multiply-accumulates (MACs) and
against the time that training takes for an image. More options of `cli.py fit` hold for every network.
"""

import csv
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.fits import fitted
from benchmarks.report import RESULTS, parser, publish
from modules.backbones import by_name

NETWORKS = {  # true takes its first strides away, for images of 32 pixels
    "lenet5": False,
    "effnet": False,
    "wide_resnet16_4": False,
    "squeezenet_bypass": True,
    "mobilenetv1_025": True,
    "mobilenetv2_035": True,
    "mobilenetv3_small_050": True,
    "shufflenetv1_g3_050": True,
    "ghostnet_050": True,
    "hardnet39ds": True,
    "resnet10t": True,
    "resnet18": True,
}


def size_of(name: str, side: int) -> dict[str, int]:
    """Parameters, and MACs for one image of `side` x `side` pixels, of a network without classifier."""
    with torch.device("meta"):
        network, image = by_name(name, NETWORKS[name]).eval(), torch.zeros(1, 3, side, side)
        with FlopCounterMode(display=False) as counter:
            network(image)
    return {"parameters": sum(p.numel() for p in network.parameters()), "macs": counter.get_total_flops() // 2}


def trained(name: str, root: Path, side: int, seconds: int, seed: int, options: list[str]) -> dict[str, float]:
    """Test accuracy, and seconds per image of the training.

    Raises:
        RuntimeError: the time is too short for the four batches that a measurement needs.
    """
    typed = {
        "--seed_everything": seed,
        "--data": "ImageFolder",
        "--data.root": root,
        "--data.image_size": side,
        "--data.val_split": 0,
        "--data.batch_size": 64,
        "--model.backbone": name,
        "--model.small_images": str(NETWORKS[name]).lower(),
        "--model.optim.schedule": "constant",
        "--model.optim.warmup": 50,
        "--model.ema_decay": 0.99,
        "--trainer.max_time": f"00:{timedelta(seconds=seconds)!s:0>8}",
        "--trainer.max_epochs": 10_000,
        "--trainer.check_val_every_n_epoch": 10_000,
    }
    metrics = fitted("classification", typed, options)
    if not metrics["samples_per_sec"]:
        raise RuntimeError(
            f"{name} trained on so few batches that there is no time to measure in {seconds} s: raise --seconds"
        )
    return {"accuracy": metrics["test/accuracy"], "seconds_per_image": 1 / metrics["samples_per_sec"]}


def draw(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """Accuracy against MACs and against training time per image, both on logarithmic scales."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    figure = Figure((13, 5), layout="constrained")
    scales = {"macs": ("MACs for one image", ""), "seconds_per_image": ("training time for one image", "s")}
    for axes, (key, (label, unit)) in zip(figure.subplots(1, 2, sharey=True), scales.items(), strict=True):
        for index, row in enumerate(rows):
            style = {"marker": "os^"[index % 3], "color": f"C{index % 10}", "markersize": 8, "linestyle": ""}
            axes.plot(row[key], 100 * row["accuracy"], label=row["network"], **style)
        axes.set(xscale="log", xlabel=label)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(EngFormatter(unit))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("test accuracy, %")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper")
    figure.suptitle(title)
    figure.savefig(path, dpi=150)


def table(rows: list[dict[str, Any]], title: str) -> Table:
    """The measurements as text, best first."""
    table = Table("network", title=title, title_justify="left")
    for heading in ("M parameters", "M MACs", "ms per image", "test accuracy"):
        table.add_column(heading, justify="right")
    for row in rows:
        size = f"{row['parameters'] / 1e6:.2f}", f"{row['macs'] / 1e6:.1f}"
        table.add_row(row["network"], *size, f"{1000 * row['seconds_per_image']:.2f}", f"{100 * row['accuracy']:.1f} %")
    return table


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--root", type=Path, required=True, help="folder with train/CLASS/*.jpg and test/CLASS/*.jpg")
    options.add_argument("--seconds", type=int, default=90, help="duration of each training")
    options.add_argument("--size", type=int, default=32, help="side of the images in pixels")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME")
    options.add_argument("--out", type=Path, default=RESULTS, help="folder for zoo.csv and zoo.png")
    args, typed = options.parse_known_args(argv)
    rows = []
    for name in args.networks:
        found = trained(name, args.root.resolve(), args.size, args.seconds, args.seed, typed)
        rows.append({"network": name, **size_of(name, args.size), **found})
        print(f"{name}: {100 * found['accuracy']:.1f} %", flush=True)
    rows.sort(key=lambda row: -row["accuracy"])
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "zoo.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    title = f"{args.seconds} s of training each, {args.size} px, seed {args.seed}, {torch.get_num_threads()} thread(s)"
    draw(rows, title, args.out / "zoo.png")
    Console().print(table(rows, title))
    return publish("zoo", args.json, rows=rows, seconds=args.seconds, size=args.size, seed=args.seed)


if __name__ == "__main__":
    main()
