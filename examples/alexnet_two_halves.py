"""AlexNet in two processes, each with half of all filters, as it was trained on two GPUs (Krizhevsky et al. 2012).

The halves see each other where a layer is not grouped: before the third convolution and the fully connected layers
each sends its maps to the other, and on the way back the gradients of the maps that it got (tensor parallelism). All
weights, their gradients and the optimizer's state stay where they are. The whole network beside it gives the same.

python examples/alexnet_two_halves.py      prints the largest differences, and the bytes that are sent
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn import functional

from modules.backbones.classics.alexnet import alexnet

WIDTHS, HIDDEN, CLASSES = (96, 256, 384, 384, 256), 4096, 1000


class Meeting(nn.Module):
    """Maps of this half (B, C, ...) to those of both (B, 2C, ...), in the order of the processes.

    Attributes: `sent` counts the bytes that this process has sent, forward and backward.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0

    def forward(self, mine: Tensor) -> Tensor:
        return _Meet.apply(mine, self)

    def swap(self, mine: Tensor) -> Tensor:
        """Send a tensor to the other process; returns the one of the same shape that comes from there."""
        mine, other = mine.contiguous(), 1 - distributed.get_rank()
        theirs = torch.empty_like(mine)
        for request in (distributed.isend(mine, other), distributed.irecv(theirs, other)):
            request.wait()
        self.sent += mine.numel() * mine.element_size()
        return theirs


class _Meet(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mine: Tensor, meeting: Meeting) -> Tensor:
        ctx.meeting = meeting
        theirs = meeting.swap(mine)
        return torch.cat((theirs, mine) if distributed.get_rank() else (mine, theirs), 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        halves, rank = gradient.chunk(2, 1), distributed.get_rank()
        return halves[rank] + ctx.meeting.swap(halves[1 - rank]), None  # both halves of the network use these maps


class HalfNorm(nn.LocalResponseNorm):
    """Response normalization within each half of the channels, as each GPU did it for itself."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super(HalfNorm, self).forward(half) for half in x.chunk(2, 1)], 1)


def whole_network(share: float = 1.0) -> nn.Sequential:
    """All layers of AlexNet without dropout, with that share of its filters and units."""
    widths = [2 * int(share * width / 2) for width in WIDTHS]
    net = alexnet(tuple(widths), hidden=2 * int(share * HIDDEN / 2), groups=2, num_classes=CLASSES)
    layers = [layer for layer in net.modules() if not list(layer.children())]
    kept = [layer for layer in layers if not isinstance(layer, nn.Dropout | nn.Identity)]
    norms = [HalfNorm(n.size, n.alpha, n.beta, n.k) if isinstance(n, nn.LocalResponseNorm) else n for n in kept]
    return nn.Sequential(*norms, nn.Flatten())


def half_network(whole: nn.Sequential, rank: int) -> nn.Sequential:
    """The layers of one process: its half of each convolution, and meetings before those that see all maps."""
    layers: list[nn.Module] = []
    for layer in whole:
        if isinstance(layer, nn.Conv2d):
            if layers and layer.groups == 1:
                layers.append(Meeting())
            layers.append(_half(layer, rank))
        elif isinstance(layer, HalfNorm):
            layers.append(nn.LocalResponseNorm(layer.size, layer.alpha, layer.beta, layer.k))
        else:
            layers.append(layer)
    return nn.Sequential(*layers, Meeting())  # each has the logits of half of the classes


def _half(layer: nn.Conv2d, rank: int) -> nn.Conv2d:
    weight, bias = (parameter.detach().chunk(2)[rank].clone() for parameter in (layer.weight, layer.bias))
    outputs, inputs, *kernel = weight.shape
    half = nn.Conv2d(inputs, outputs, kernel, layer.stride, layer.padding, dtype=weight.dtype)
    half.load_state_dict({"weight": weight, "bias": bias})
    return half


def compare(rank: int, share: float = 1.0, images: int = 2) -> dict[str, float]:
    """Forward and backward through both; returns the largest differences, relative to the largest value, and bytes."""
    torch.manual_seed(0)
    whole = whole_network(share).double()
    image, label = torch.randn(images, 3, 224, 224, dtype=torch.float64), torch.arange(images)
    expected = whole(image)
    functional.cross_entropy(expected, label).backward()
    half = half_network(whole, rank)
    logits = half(image)
    (functional.cross_entropy(logits, label) / 2).backward()  # both compute this loss
    pairs = [
        (own.grad, there.grad.chunk(2)[rank]) for own, there in zip(half.parameters(), whole.parameters(), strict=True)
    ]
    return {
        "logits": _difference(logits, expected),
        "gradients": max(_difference(*pair) for pair in pairs),
        "sent": sum(layer.sent for layer in half if isinstance(layer, Meeting)),
        "parameters": sum(parameter.numel() * parameter.element_size() for parameter in whole.parameters()),
    }


def _difference(one: Tensor, other: Tensor) -> float:
    return ((one - other).abs().max() / other.abs().max()).item()


def _work(rank: int, file: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    found = compare(rank, share=0.25)
    print(f"process {rank}: logits differ by {found['logits']:.0e}, gradients by {found['gradients']:.0e}", flush=True)
    distributed.barrier()
    if rank == 0:
        print(f"each sends {found['sent'] / 1e6:.2f} MB per step, maps and gradients of two images in float64;")
        print(f"two copies of the network would each send its gradients, {found['parameters'] / 1e6:.1f} MB")
    distributed.destroy_process_group()


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        multiprocessing.start_processes(_work, (f"{folder}/meeting",), nprocs=2, start_method="fork")
