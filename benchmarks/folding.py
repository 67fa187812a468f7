"""Images per second of backbones with folded batch norms (`--model.fold_batchnorm true`) and as trained.

    python -m benchmarks.folding
    python -m benchmarks.folding --backbones repvgg_b1 --side 224 --batch 32

Both give the same maps, which is checked. Weights and images are random, which changes no duration.
"""

import time
from typing import Any

import torch
from torch import Tensor

from benchmarks.report import Comparison, compare, in_pairs, parser
from modules.backbones import by_name
from modules.backbones.fold_batchnorm import folded
from modules.contracts import Backbone

ALLOWED = 1e-4  # difference of the outputs, of the largest value of a map


def rate(backbone: Backbone, image: Tensor, batches: int) -> float:
    """Images per second."""
    began = time.perf_counter()
    with torch.inference_mode():
        for _ in range(batches):
            backbone(image)
    return batches * len(image) / (time.perf_counter() - began)


def measure(names: list[str], side: int, batch: int, batches: int, repeats: int) -> list[Comparison]:
    torch.manual_seed(0)
    image = torch.randn(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    rows = []
    for name in names:
        plain = by_name(name).eval().to(memory_format=torch.channels_last)
        fast = folded(plain)
        with torch.inference_mode():  # warms both up, too
            pairs = list(zip(fast(image), plain(image), strict=True))
        error = max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)
        assert error < ALLOWED, f"{name} differs by {error:g}"
        rates = in_pairs(lambda f=fast: rate(f, image, batches), lambda p=plain: rate(p, image, batches), repeats)
        rows.append(Comparison(name, "images/s", *rates))
    return rows


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--backbones", nargs="+", default=["repvgg_a0", "resnet50", "mobilenetv3_small_100"])
    options.add_argument("--side", type=int, default=224, help="side of the images in pixels")
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--batches", type=int, default=2, help="batches of a run")
    options.add_argument("--repeats", type=int, default=5, help="pairs of runs")
    args = options.parse_args(argv)
    rows = measure(args.backbones, args.side, args.batch, args.batches, args.repeats)
    title = f"Fused backbones, images of {args.side} px, batches of {args.batch}, {torch.get_num_threads()} threads"
    settings = {name: value for name, value in vars(args).items() if name != "json"}
    return compare("folding", title, rows, "as trained", args.json, **settings)


if __name__ == "__main__":
    main()
