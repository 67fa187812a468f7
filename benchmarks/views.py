"""Augmented views per second: our data module against lightly's data set and SimCLRTransform.

Same JPEG files, same size, same operations with the same probabilities, two views per image, one process, one thread:
crop (area 0.2..1), flip 0.5, color jitter 0.8 (brightness, contrast, saturation 0.4, hue 0.1), gray 0.2, and above
64 pixels Gaussian blur 0.5 (sigma 0.1..2). Both read the files and end with stacked batches.

One difference: lightly converts to float and normalizes each view on the CPU; our batches leave the loader as uint8
and are normalized on the device. So there are two rows per size: the work of the loader's process (the mark), and the
same with our conversion and normalization of the batch done in this process too. Seconds are those of the process, not
of the wall, so that other load of the machine counts less; the files lie in the page cache, so on an idle machine the
two are the same.

Further rows are of `augment_device: device`: views made and normalized on a GPU, from files that are read here and from
images that it holds, in seconds of the wall; without a GPU, on the CPU from files.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import torch
from torch.utils.data import default_collate

from benchmarks.report import Comparison, compare, in_pairs, parser, seconds
from datamodules import UnlabeledImages
from datamodules.synthetic.render import render
from datamodules.synthetic.world import scene
from modules.backbones import Timm

MARK = ">= 2.5"  # ratio to lightly's
BATCH = 64


def ours(root: Path, size: int, count: int, normalize: bool, device: str | None = None, held: bool = False) -> float:
    """Views per second of the data module, read from disk to uint8 batches, or to normalized float ones.

    Args:
        device: makes the views; null leaves them to the loader.
        held: the device holds the images before the clock starts.
    """
    there = torch.device(device or "cpu")
    where = {"augment_device": "device", "cache_on_device": held} if device else {}
    data = UnlabeledImages(
        root=str(root), image_size=size, views=2, crop=(0.2, 1.0), augment="simclr", val_split=0.0, **where
    )
    data.setup()
    images, backbone = data.dataset("train", "train"), Timm("test_resnet").to(there)
    if held:
        data.on_device.hold(images, (data.collate([images[0, i]]) for i in range(len(images))), there)
    began = seconds(there)
    for start in range(0, count, BATCH):
        batch = data.collate([images[0, i % len(images)] for i in range(start, min(start + BATCH, count))])
        if device:
            batch = data.transfer_batch_to_device(batch, there, 0)
        if normalize:
            batch["views"] = [backbone.normalize(view) for view in batch["views"]]
    return 2 * count / (seconds(there) - began)


def lightly(root: Path, size: int, count: int) -> float:
    """Views per second of lightly's data set and transform, read from disk to normalized float batches."""
    from lightly.data import LightlyDataset
    from lightly.transforms import SimCLRTransform

    blur = 0.5 if size > 64 else 0.0
    transform = SimCLRTransform(input_size=size, cj_strength=0.5, min_scale=0.2, gaussian_blur=blur)
    images = LightlyDataset(str(root), transform)
    began = time.process_time()
    for start in range(0, count, BATCH):
        default_collate([images[i % len(images)] for i in range(start, min(start + BATCH, count))])
    return 2 * count / (time.process_time() - began)


@contextmanager
def generated(size: int, count: int) -> Iterator[Path]:
    """A temporary folder of JPEG files of the built-in world: as large as the views when small, else 320x240."""
    with TemporaryDirectory() as folder:
        for i in range(count):
            image = render(scene(0, i), size if size <= 64 else 320)[0]
            image = image if size <= 64 else image[40:280]
            cv2.imwrite(f"{folder}/{i:06d}.jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        yield Path(folder)


def measure(root: Path, size: int, count: int, repeats: int) -> list[Comparison]:
    """The rows of one size, the same runs of lightly in all."""
    gpu = torch.cuda.is_available()
    kinds: dict[str, dict[str, Any]] = {
        "as each loader delivers": {"normalize": False},
        "ours normalized as well": {"normalize": True},
        f"ours made on the {'GPU' if gpu else 'CPU as device'}": {
            "normalize": True,
            "device": "cuda" if gpu else "cpu",
        },
    }
    if gpu:
        kinds["the same, images held there"] = {"normalize": True, "device": "cuda", "held": True}
    lightly(root, size, min(count, BATCH))  # imports, and the files into the page cache
    for kind in kinds.values():
        ours(root, size, min(count, BATCH), **kind)
    runs, theirs = in_pairs(
        lambda: [ours(root, size, count, **kind) for kind in kinds.values()],
        lambda: lightly(root, size, count),
        repeats,
    )
    rates = zip(kinds, zip(*runs, strict=True), strict=True)
    rows = [Comparison(f"{size} px, {what}", "views/s", list(found), theirs) for what, found in rates]
    return [replace(rows[0], mark=MARK), *rows[1:]]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--root", type=Path, help="any folder of images; without it, images of the built-in world")
    options.add_argument("--sizes", type=int, nargs="+", default=[32, 224], help="sides of the views in pixels")
    options.add_argument("--images", type=int, default=512, help="images per repeat, each giving two views")
    options.add_argument("--repeats", type=int, default=7, help="pairs of runs")
    args = options.parse_args(argv)
    if find_spec("lightly") is None:
        options.error('lightly is not installed: pip install -c constraints.txt -e ".[bench]"')
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        rows = []
        for size in args.sizes:
            with nullcontext(args.root) if args.root else generated(size, min(args.images, 512)) as root:
                rows += measure(root, size, args.images, args.repeats)
        if not torch.cuda.is_available():
            print("views made on a GPU: n/a, this machine has none")
        where = args.root or "the built-in world"
        title = f"Augmented views, one process, one thread, {args.images} images of {where}, {args.repeats} pairs"
        return compare("views", title, rows, "lightly", args.json, root=str(where), images=args.images)
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
