"""Contract between tasks and exports: a graph is a module with named inputs and outputs.

A task joins by `Task.graphs`, which returns its graphs by name: the first is the exported file, others (a decoder step)
lie beside it. For tasks on single images, give `image_graph` a network that takes normalized images and their
`Geometry` and returns a tuple; preprocessing and normalization go in front of it. Outputs carry the keys of predictions
(`label`, `scores`, `boxes`, ...), because whoever runs the file hands them on by these names: one entry per image along
axis 0. Outputs of which an image has fewer than others (boxes) are padded, and an output `count` int64 (B,) tells how
many are real; readers cut by it.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from modules.contracts import Backbone
from modules.contracts.pixels import LUMA
from modules.export.preprocess import Geometry, Preprocess

ImageNetwork = Callable[[Tensor, Geometry], tuple[Tensor, ...]]
"""Normalized images (B, C, h, w) and their geometry to outputs, one entry per image along axis 0; a module."""


@dataclass(frozen=True)
class Graph:
    """One network of an exported file.

    Args:
        module: takes the inputs in their order and returns a tuple in the order of `outputs`; pure torch.
        inputs: an example of each input by name; sizes 0 and 1 on dynamic axes would become fixed.
        outputs: names, keys of predictions where they are some.
        dynamic: axes of each input whose length is free, by the name that they have in the file.
        settings: plain values that whoever runs the file needs, such as token ids; part of the metadata.
        kind: of the samples, whose first input it names: image, video, text or noise.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: Sequence[str]
    dynamic: dict[str, dict[int, str]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    kind: Literal["image", "video", "text", "noise"] = "image"

    @property
    def varied(self) -> bool:
        """True if the module takes all its inputs but the first as `*inputs`."""
        kinds = [each.kind for each in inspect.signature(self.module.forward).parameters.values()]
        return inspect.Parameter.VAR_POSITIONAL in kinds


class Normalize(nn.Module):
    """Pixels float32 (B, 3, h, w) in [0, 255] to the input of a backbone, as `Backbone.normalize` does for bytes."""

    def __init__(self, backbone: Backbone):
        super().__init__()
        shape, image = (1, -1, 1, 1), backbone.mean_image
        self.register_buffer("mean", 255 * (backbone.mean.view(shape) if image is None else image[None]).detach())
        self.register_buffer("std", 255 * backbone.std.detach().view(shape))
        self.register_buffer("luma", torch.tensor(LUMA).view(shape))

    def forward(self, image: Tensor) -> Tensor:
        if self.std.numel() == 1:
            image = (image * self.luma).sum(1, keepdim=True).round()
        return (image - self.mean) / self.std


class ImageGraph(nn.Module):
    """Raw images uint8 (B, H, W, 3) through preprocessing, normalization and a network."""

    def __init__(self, preprocess: Preprocess, normalize: nn.Module, network: nn.Module):
        super().__init__()
        self.preprocess, self.normalize, self.network = preprocess, normalize, network
        self.dtype = torch.float32

    def set_half(self) -> None:
        """Compute the network in float16; its answers are float32 all the same."""
        self.network.half()
        self.dtype = torch.float16

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        pixels, geometry = self.preprocess(image)
        return self.network(self.normalize(pixels).to(self.dtype), geometry)


class ClipGraph(ImageGraph):
    """Raw clips uint8 (B, T, H, W, 3): every frame through preprocessing and normalization, then a network of clips."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        frames, geometry = self.preprocess(image.flatten(0, 1))
        clips = self.normalize(frames).unflatten(0, (-1, image.shape[1])).transpose(1, 2)
        return self.network(clips.to(self.dtype), geometry)


def clip_graph(
    preprocess: Preprocess, backbone: Backbone, network: nn.Module, outputs: Sequence[str], frames: int, **settings: Any
) -> Graph:
    """Graph of a task on clips: `video` uint8 (B, T, H, W, 3), RGB, T fixed; arguments as `image_graph`.

    Which frames of a video are a clip, and which clips are averaged, is said by the settings of the data in the
    metadata.
    """
    shape = (EXAMPLE_SHAPE[0], frames, *EXAMPLE_SHAPE[1:])
    example = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    module = ClipGraph(preprocess, Normalize(backbone), network).eval()
    dynamic = {"video": {0: "batch", 2: "height", 3: "width"}}
    return Graph(module, {"video": example}, outputs, dynamic, {"frames": frames} | settings, "video")


def image_graph(
    preprocess: Preprocess, backbone: Backbone, network: nn.Module, outputs: Sequence[str], **settings: Any
) -> Graph:
    """Graph of a task on single images: `image` uint8 (B, H, W, 3), RGB, of any size that the transform takes.

    Args:
        preprocess: evaluation transform of the data.
        backbone: gives mean, standard deviation and channels.
        network: an `ImageNetwork`.
        outputs: names of its outputs.
        settings: as in `Graph`.
    """
    dynamic = {0: "batch", 1: "height", 2: "width"}
    example = torch.randint(256, EXAMPLE_SHAPE, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    module = ImageGraph(preprocess, Normalize(backbone), network).eval()
    return Graph(module, {"image": example}, outputs, {"image": dynamic}, settings)


EXAMPLE_SHAPE = (2, 96, 80, 3)
"""Shape of the example; other numbers, heights and widths of images work as well."""
