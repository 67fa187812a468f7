"""Peak memory of validating instance segmentation on large images with many masks.

    python -m benchmarks.memory

A process of its own builds the task, with a small network whose random weights give as many masks as an image may
have, then validates under the trainer, with the figures that a run draws at its end. Counted is the peak resident
set size of each part, as Linux keeps it, above that of the process when the task is built: everything that grows with
images and masks. Images are made when they are asked for, as files would be read.
"""

import re
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from lightning.pytorch import Callback, Trainer, seed_everything

from benchmarks.evaluation import ellipse, random_boxes
from benchmarks.precision import automatic
from benchmarks.report import apart, parser, publish
from callbacks import Figures
from commands.silence import silence_messages
from datamodules.base import Split
from datamodules.detection.object_data import ObjectDataModule
from datamodules.detection.objects import ObjectFiles, packed
from modules.contracts import Prediction
from modules.heads.detection import MaskRCNN
from modules.necks import FPN
from tasks import InstanceSegmentation

MARK = 3.0  # GiB above the model
PARTS = ("data", "batches", "metrics", "figures")
CLASSES = 10
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Noise(NamedTuple):
    """Images of noise, each made anew when it is asked for."""

    count: int
    size: tuple[int, int]
    root: None = None

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> np.ndarray:
        return np.random.default_rng(index).integers(0, 256, (*self.size, 3), np.uint8)

    def id(self, index: int) -> str:
        return f"noise/{index:06d}"


class Ellipses(ObjectDataModule):
    """Validation images of noise with the masks of ellipses.

    Args:
        images: number of images.
        objects: in each image.
        side: of the images in pixels.
    """

    def __init__(self, images: int, objects: int, side: int, batch_size: int):
        super().__init__(image_size=side, masks=True, batch_size=batch_size, workers=0)
        self.count, self.objects, self.size = images, objects, (side, side)
        self.classes, self.category_ids = [f"class{i}" for i in range(CLASSES)], [*range(1, CLASSES + 1)]

    def sources(self) -> dict[Split, ObjectFiles]:
        random, total = np.random.default_rng(0), self.count * self.objects
        boxes = random_boxes(random, total, self.size)
        rles = [ellipse(box, self.size) for box in boxes]
        found = ObjectFiles(
            Noise(self.count, self.size),
            shapes=np.full((self.count, 2), self.size, np.int32),
            starts=np.arange(self.count + 1) * self.objects,
            boxes=boxes,
            classes=random.integers(0, CLASSES, total).astype(np.int32),
            crowd=np.zeros(total, bool),
            area=coco_mask.area(rles).astype(np.float32),
            counts=packed([rle["counts"] for rle in rles]),
        )
        return {"val": found}


class Meter(Callback):
    """Peak resident set size of each part in bytes, and the number of masks found.

    Comes before the callbacks that draw.
    """

    def __init__(self) -> None:
        self.peaks: dict[str, int] = {}
        self.masks = 0

    def part(self, name: str) -> None:
        """End a part; the next one begins."""
        self.peaks[name] = resident("VmHWM")
        RESET.write_text("5")

    def on_validation_start(self, *_: Any) -> None:
        self.part("data")

    def on_validation_batch_end(self, trainer: Trainer, task: InstanceSegmentation, found: Prediction, *_: Any) -> None:
        self.masks += sum(map(len, found["rle"]))

    def on_validation_epoch_end(self, *_: Any) -> None:  # the task computes its metrics after it
        self.part("batches")

    def on_validation_end(self, *_: Any) -> None:
        self.part("metrics")


def resident(name: str) -> int:
    """Bytes of memory of this process: VmRSS is now, VmHWM the most since it was reset."""
    return 1024 * int(re.search(rf"{name}:\s*(\d+)", STATUS.read_text())[1])


def validate(images: int, objects: int, side: int, batch: int, precision: str) -> dict[str, Any]:
    """GiB of the model and, above it, of each part; masks per image; figures drawn. For a process of its own."""
    silence_messages()
    seed_everything(0, verbose=False)
    head = partial(
        MaskRCNN,
        anchor_sizes=[side / 16, side / 8, side / 4],
        proposals=1000,
        hidden=256,
        mask_channels=64,
        score_threshold=0.0,
        detections=objects,
    )
    task = InstanceSegmentation(
        backbone="test_resnet",
        neck=partial(FPN, channels=64, levels=3),
        head=head,
        classes=[f"class{i}" for i in range(CLASSES)],
    )
    data, meter = Ellipses(images, objects, side, batch), Meter()
    with TemporaryDirectory() as folder:
        silent = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
        trainer = Trainer(
            accelerator="cpu", precision=precision, callbacks=[meter, Figures()], default_root_dir=folder, **silent
        )
        before = resident("VmRSS")
        RESET.write_text("5")
        trainer.validate(task, data, verbose=False)
        meter.part("figures")
        drawn = len(list(Path(folder).glob("figures/*.png")))
    peaks = {name: (meter.peaks[name] - before) / 2**30 for name in PARTS}
    return {"parts": peaks, "model": before / 2**30, "masks": meter.masks / images, "drawn": drawn}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=200)
    options.add_argument("--objects", type=int, default=100, help="objects in each image, and limit of detections")
    options.add_argument("--side", type=int, default=1024, help="side of the images in pixels")
    options.add_argument("--batch", type=int, default=8, help="images at a time")
    options.add_argument(
        "--precision", default=automatic(), help="the trainer's; default %(default)s, as cli.py chooses"
    )
    args = options.parse_args(argv)
    if not RESET.exists():
        options.error("this system does not keep the largest resident set of a process: run it on Linux")
    settings = {name: value for name, value in vars(args).items() if name != "json"}
    found = apart(partial(validate, **settings))
    peak = max(found["parts"].values())
    print(
        f"GiB above the {found['model']:.2f} of libraries and model, {found['masks']:.1f} masks found per image, "
        f"{args.precision}"
    )
    for name, most in [*found["parts"].items(), ("peak", peak)]:
        print(f"{name:9} {most:.2f}")
    return publish("memory", args.json, **found, peak=peak, mark=f"<= {MARK:g}", holds=peak <= MARK, **settings)


if __name__ == "__main__":
    main()
