"""Milliseconds per image of exported files in onnxruntime and of the same tasks in PyTorch, from raw pixels to answers.

    python -m benchmarks.export
    python -m benchmarks.export --side 512 --backbone resnet50

Both get one image uint8 (H, W, 3) in its own size. PyTorch resizes it with OpenCV, normalizes it and runs the task's
`predict_step`, with batch norms folded (`--model.fold_batchnorm true`) and as trained. Weights and images are random,
which changes no duration. The mark, 1.0 against PyTorch as trained, is for ResNet-18 and U-Net in float32.
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.report import Comparison, compare, in_pairs, parser
from commands.export.onnx_file import write_onnx
from commands.export.quantization import quantize
from commands.export.runtime import session_of
from datamodules.augment import center_square
from datamodules.letterbox import Letterbox
from modules.contracts.preprocessing import Preprocessing
from modules.export import preprocess_for
from tasks import Classification, SemanticSegmentation
from tasks.vision import VisionTask

MARK = "<= 1.0"
CLASSES = [f"class {i}" for i in range(10)]
Run = Callable[[np.ndarray], Any]


def torch_side(task: VisionTask, side: int) -> Run:
    """Pixels to answers in PyTorch, as `predict` computes them."""
    dense = isinstance(task, SemanticSegmentation)
    prepare = Letterbox((side, side)) if dense else center_square((side, side))

    def run(image: np.ndarray) -> Any:
        made = prepare(image)
        pixels = torch.from_numpy(made["image"] if dense else made)[None].permute(0, 3, 1, 2)
        sizes = {key: torch.tensor([made[key]]) for key in ("size", "inside")} if dense else {}
        with torch.inference_mode():
            return task.predict_step({"image": task.normalized(pixels), **sizes}, 0)

    return run


def onnx_side(task: VisionTask, side: int, folder: Path, int8: bool, images: list[np.ndarray]) -> Run:
    """The same by onnxruntime."""
    kind = "letterbox" if isinstance(task, SemanticSegmentation) else "center_crop"
    graph = task.graphs(preprocess_for(Preprocessing(kind, (side, side))))["model"]
    path = folder / f"{type(task).__name__}_{int8}.onnx"
    write_onnx(graph, path, {}, task.backbone.name)
    if int8:
        quantize(path, ({"image": image[None]} for image in images), {})
    session = session_of(path, torch.get_num_threads())
    return lambda image: session.run(None, {"image": image[None]})


def milliseconds(run: Run, images: list[np.ndarray]) -> float:
    began = time.perf_counter()
    for image in images:
        run(image)
    return 1000 * (time.perf_counter() - began) / len(images)


def measure(backbone: str, side: int, shape: tuple[int, int], count: int, repeats: int) -> list[Comparison]:
    random, rows = np.random.default_rng(0), []
    images = [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for _ in range(count)]
    with TemporaryDirectory() as folder:
        for name, kind in (("classification", Classification), ("U-Net", SemanticSegmentation)):
            torch.manual_seed(0)
            task = kind(classes=CLASSES, backbone=backbone).eval()
            plain = torch_side(task, side)
            fast = kind(classes=CLASSES, backbone=backbone, fold_batchnorm=True).eval()
            fast.on_predict_start()
            for what, peer, int8, mark in (
                (name, plain, False, MARK),
                (f"{name}, folded in PyTorch", torch_side(fast, side), False, ""),
                (f"{name}, int8", plain, True, ""),
            ):
                ours = onnx_side(task, side, Path(folder), int8, images)
                for run in (ours, peer):
                    run(images[0])
                times = in_pairs(
                    lambda run=ours: milliseconds(run, images), lambda run=peer: milliseconds(run, images), repeats
                )
                rows.append(Comparison(what, "ms/image", *times, mark))
    return rows


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--backbone", default="resnet18")
    options.add_argument("--side", type=int, default=224, help="of what the network sees, in pixels")
    options.add_argument("--height", type=int, default=375, help="of the images")
    options.add_argument("--width", type=int, default=500, help="of the images")
    options.add_argument("--count", type=int, default=8, help="images of a run")
    options.add_argument("--repeats", type=int, default=5, help="pairs of runs")
    args = options.parse_args(argv)
    rows = measure(args.backbone, args.side, (args.height, args.width), args.count, args.repeats)
    title = (
        f"Exported {args.backbone}, {args.width} x {args.height} to {args.side} px, {torch.get_num_threads()} threads"
    )
    settings = {name: value for name, value in vars(args).items() if name != "json"}
    return compare("export", title, rows, "PyTorch", args.json, **settings)


if __name__ == "__main__":
    main()
