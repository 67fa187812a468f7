"""`predict --onnx FILE --data UnlabeledImages`: predictions of an exported file without the libraries of training.

Importing these takes longer than most predictions. Other data and further settings go the way of a checkpoint.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from commands.answers import report
from modules.contracts import ConfigError, DataError

ROOT = Path(__file__).parents[2]
BATCH = 32
PIXELS = 2**26
PACKAGES = ("callbacks", "datamodules")


def options(argv: list[str]) -> argparse.Namespace | None:
    """The options of a command that needs no more than this file; null for others."""
    if argv[:1] != ["predict"]:
        return None
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("--onnx", "--data", "--data.root", "--run_dir"):
        parser.add_argument(name, dest=name.strip("-").replace(".", "_"))
    parser.add_argument("--data.workers", dest="workers")  # of no use here
    parser.add_argument("--predictions.threshold", dest="threshold", type=float)
    try:
        own, rest = parser.parse_known_args(argv[1:])
    except (argparse.ArgumentError, SystemExit):
        return None
    return own if own.onnx and own.data == "UnlabeledImages" and own.data_root and not rest else None


def quick(argv: list[str], alone: bool = False) -> int | None:
    """Exit code of a command that this file can run; null for others, with nothing done.

    Args:
        argv: the arguments.
        alone: the process does nothing else, so that modules of `PACKAGES` are imported without all the others there.
    """
    own = options(argv)
    if own is None:
        return None
    if alone:
        for name in PACKAGES:
            package = ModuleType(name)
            package.__path__ = [str(ROOT / name)]
            sys.modules[name] = package
    try:
        code = 0 if predict(own) else None
    except (ConfigError, DataError) as error:
        return report(error)
    if alone and code is None:
        for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
            del sys.modules[name]
    return code


def predict(own: argparse.Namespace) -> bool:
    """Run the command with the options of `options`.

    Returns false, and does nothing, for files that need the data module: broken ones, and those of more than 8 bits.

    Raises:
        ConfigError: a package is missing, or the threshold is no score.
        DataError: the file cannot be run, or an image cannot be read.
    """
    from callbacks.terminal import print_line
    from callbacks.writers.base import Source
    from commands.export.batches import joined, samples_of
    from commands.export.runtime import OnnxModel
    from datamodules.finding import find_images
    from datamodules.inspection import inspect_all

    if own.threshold is not None and not 0 <= own.threshold <= 1:
        raise ConfigError(f"predictions.threshold is {own.threshold:g}, but it is a score, 0 to 1")
    model, root = OnnxModel(Path(own.onnx).expanduser()), Path(own.data_root).expanduser()
    if model.kind != "image":
        raise DataError(f"{own.onnx} takes {model.kind}, but UnlabeledImages gives images: choose other --data")
    if not root.is_dir():
        raise DataError(f"data.root {root} is not a folder")
    images = find_images(root)
    inspected = inspect_all(images)
    if not images or any(found.problem or found.depth for found in inspected):
        return False
    run = model.metadata["run"]["name"]
    folder = Path(own.run_dir or f"runs/{run}/{datetime.now():%Y-%m-%d_%H-%M-%S}_predict").expanduser()
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"run directory {folder} is in use: it holds other files; choose another --run_dir")
    print_line(f"{model.task} of {own.onnx} predicts all {len(images):,} images")
    writer: Any = None
    try:
        for batch in _batches(together(images, [found.shape for found in inspected]), root):
            found = joined(model(samples_of(batch)))
            if writer is None:
                writer = _writer(found)(Source(_trainer(model, folder), _task(model), batch, own.threshold))
            writer.add(batch, found)
    except BaseException:
        if writer is not None:
            writer.discard()
        raise
    writer.close()
    for path in writer.merge(1):
        print_line(f"predictions: {path}")
    for note in writer.notes:
        print_line(note)
    return True


def together(images: list[Path], shapes: list[tuple[int, int]]) -> Iterator[list[Path]]:
    """Images in their order, so many together as have room in one array of `PIXELS`; one alone may have more."""
    part: list[Path] = []
    high = wide = 0
    for path, (height, width) in zip(images, shapes, strict=True):
        high, wide = max(high, height), max(wide, width)
        if part and (len(part) == BATCH or (len(part) + 1) * high * wide > PIXELS):
            yield part
            part, high, wide = [], height, width
        part.append(path)
    yield part


def _batches(parts: Iterable[list[Path]], root: Path) -> Iterator[dict[str, Any]]:
    """Batches of images in their own size, as data modules give them."""
    import numpy as np
    import torch

    from datamodules.decoding import read_image

    for paths in parts:
        pixels = [read_image(path) for path in paths]
        size = np.array([image.shape[:2] for image in pixels])
        room = np.zeros((len(paths), *size.max(0), 3), np.uint8)
        for place, image in zip(room, pixels, strict=True):
            place[: image.shape[0], : image.shape[1]] = image
        sizes = torch.from_numpy(size)
        names = [str(path.relative_to(root)) for path in paths]
        yield {"id": names, "image": torch.from_numpy(room).permute(0, 3, 1, 2), "size": sizes, "inside": sizes}


def _writer(prediction: dict[str, Any]) -> Any:
    """Class of the writer of such predictions, as registered in `callbacks.kinds.builtin`."""
    from importlib import import_module

    kinds = {
        "boxes": "detections.DetectionFiles",
        "mask": "masks.MaskFiles",
        "label": "labels.LabelFile",
        "tags": "tags.TagFile",
    }
    kinds |= {"features": "features.FeatureFile", "text": "sentences.TextFiles"}
    module, name = next(path for key, path in kinds.items() if key in prediction).split(".")
    return getattr(import_module(f"callbacks.writers.{module}"), name)


def _trainer(model: Any, folder: Path) -> Any:
    meaning = model.metadata["train"]["meaning"]
    data = SimpleNamespace(
        palette=meaning.get("palette"), mask_values=meaning.get("mask_values"), category_ids=None, image_ids=None
    )
    return SimpleNamespace(default_root_dir=folder, global_rank=0, testing=False, predicting=True, datamodule=data)


def _task(model: Any) -> Any:
    known = model.metadata["settings"].get("search")
    search, threshold = SimpleNamespace(**known) if known else None, model.metadata["threshold"]
    return SimpleNamespace(classes=model.classes, backbone=None, drawing_threshold=threshold, search=search)
