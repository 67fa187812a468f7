"""Images per second of RandAugment: ours against torchvision's v2, on the same uint8 images, one process, one thread.

Two operations of magnitude 9, nearest neighbor, black behind. Rows for other sizes; seconds are those of the process.

    python -m benchmarks.policies
"""

import time

import numpy as np
import torch
from torchvision.transforms import v2

from benchmarks.report import Comparison, compare, in_pairs, parser
from datamodules.augment import Keyed
from datamodules.policies import AugMix, RandAugment, TrivialAugment

MARK = ">= 2.0"
PAIRS = {
    "RandAugment": (RandAugment, v2.RandAugment, MARK),
    "TrivialAugment": (TrivialAugment, v2.TrivialAugmentWide, ""),
    "AugMix": (AugMix, lambda: v2.AugMix(all_ops=False), ""),
}


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=[32, 224])
    options.add_argument("--count", type=int, default=400)
    options.add_argument("--repeats", type=int, default=5)
    chosen, rows = options.parse_args(arguments), []
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    for size in chosen.sizes:
        images = random.integers(0, 256, (16, size, size, 3), dtype=np.uint8)
        tensors = torch.from_numpy(images).permute(0, 3, 1, 2)
        for name, (own, other, mark) in PAIRS.items():
            keyed, peer = Keyed([own()]), other()

            def ours(keyed: Keyed = keyed, images: np.ndarray = images) -> float:
                began = time.process_time()
                for i in range(chosen.count):
                    keyed.seed(i)
                    keyed.transforms(image=images[i % 16])
                return chosen.count / (time.process_time() - began)

            def theirs(peer: v2.Transform = peer, tensors: torch.Tensor = tensors) -> float:
                began = time.process_time()
                for i in range(chosen.count):
                    peer(tensors[i % 16])
                return chosen.count / (time.process_time() - began)

            rows.append(Comparison(f"{name}, {size} px", "images/s", *in_pairs(ours, theirs, chosen.repeats), mark))
    compare("policies", "Augmentation policies", rows, "torchvision v2", chosen.json)


if __name__ == "__main__":
    main()
