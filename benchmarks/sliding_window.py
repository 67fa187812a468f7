"""Cost of classifying center pixels of patches, beside the same network over whole images and an FCN that downsamples.

One network, `full_resolution`, answers an image twice: once over the whole image, and once for the patch of its
receptive field around every pixel, which gives the same logits where no border is in sight, and costs the pixels of a
patch times as much (Long et al. 2015). The third is an FCN on a ResNet-18. MACs are torch's count, time is the median.
"""

import argparse
import time
from collections.abc import Sequence
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from modules.backbones import FullResolution
from modules.heads import FCN
from tasks import SemanticSegmentation

CLASSES = [f"class {i}" for i in range(11)]


def field(depth: int) -> int:
    """Side in pixels of the receptive field of `full_resolution` and the head, a 3x3 convolution more."""
    return 2 * (depth + 1) + 1


def networks(width: int, depth: int) -> dict[str, SemanticSegmentation]:
    """The three by their names, in evaluation mode; the first two have the same weights."""
    whole, sliding = (
        SemanticSegmentation(CLASSES, backbone=FullResolution(width=width, depth=depth), head=FCN, patch_size=size)
        for size in (None, field(depth))
    )
    sliding.load_state_dict(whole.state_dict())
    down = SemanticSegmentation(CLASSES, backbone="resnet18", head=FCN)
    return {
        "patch of every pixel": sliding.eval(),
        "whole image, no downsampling": whole.eval(),
        "whole image, ResNet-18 FCN": down.eval(),
    }


@torch.inference_mode()
def measured(task: SemanticSegmentation, image: torch.Tensor, repeats: int) -> tuple[float, float]:
    """MACs of an image, and seconds."""
    with FlopCounterMode(display=False) as counter:
        task(image)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        task(image)
        seconds.append(time.perf_counter() - start)
    return counter.get_total_flops() / 2, median(seconds)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64, help="side of the image")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--depth", type=int, default=8, help="convolutions of the backbone")
    parser.add_argument("--repeats", type=int, default=3)
    own = parser.parse_args(argv)
    torch.manual_seed(0)
    image, found = torch.randn(1, 3, own.size, own.size), networks(own.width, own.depth)
    costs = {name: measured(task, image, own.repeats) for name, task in found.items()}
    least = costs["whole image, no downsampling"]
    print(f"{own.size} x {own.size} pixels, patches of {field(own.depth)} x {field(own.depth)}")
    print(f"{'':30}{'MMACs':>12}{'':>8}{'ms':>12}")
    for name, (macs, seconds) in costs.items():
        ratios = f"{macs / least[0]:7.3g}x", f"{seconds / least[1]:7.3g}x"
        print(f"{name:30}{macs / 1e6:12,.0f}{ratios[0]}{1e3 * seconds:12,.1f}{ratios[1]}")


if __name__ == "__main__":
    main()
