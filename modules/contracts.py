"""What every part agrees on: feature pyramids, batches, predictions and the two kinds of user error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

Batch = dict[str, Any]
"""Keys and shapes as in the README's table: `image`, `views`, `label`, `id`, ..."""

Prediction = dict[str, Any]
"""Same keys as a batch; `label` + `scores` (B, C), `features` (B, D), ..."""


IGNORE = 255
"""What a semantic map says where no class counts: void, and the padding around a picture."""

SURPLUS = "surplus"
"""Key of a batch that does not count: a device without a batch of its own got it, so that all take part in an epoch."""


class ConfigError(Exception):
    """A wrong command or setting; one sentence, exit code 2."""


class DataError(Exception):
    """Wrong data or files; one sentence, exit code 1."""


class Features(NamedTuple):
    """Feature maps, fine to coarse.

    Args:
        channels: channels of each level.
        strides: pixels of the picture that one cell of each level spans.
    """

    channels: list[int]
    strides: list[int]


class Weights(NamedTuple):
    """A backbone's tensors under its library's names, and what is known about them.

    `about`: name, small_images, mean, std, epoch, task: whatever the source knows, all plain values.
    """

    tensors: dict[str, Tensor]
    about: dict[str, Any]
    source: str


class Backbone(nn.Module):
    """Picture in, feature pyramid out: level i is (B, channels[i], H/strides[i], W/strides[i]).

    A `temporal` one takes clips (B, C, T, H, W) and gives maps (B, channels[i], t, H/strides[i], W/strides[i]).
    `mean` and `std` (buffers, one value per input channel, for pictures scaled to 0..1) are the input statistics that
    its weights expect. They live here, so they travel with the weights: into checkpoints, exports and other tasks.
    """

    temporal: ClassVar[bool] = False
    features: Features
    mean: Tensor
    std: Tensor

    @property
    def memory_format(self) -> torch.memory_format:
        """Channels last, as the batches are: 1.5 to 1.8 times faster on a CPU."""
        return torch.channels_last_3d if self.temporal else torch.channels_last

    def forward(self, image: Tensor) -> list[Tensor]:
        raise NotImplementedError

    def pretrained(self) -> Weights:
        """The library's own weights; any exception when they cannot be had."""
        raise LookupError("there are none")

    @property
    def weights_file(self) -> str:
        """What the file of those weights is called and where it lies; empty if there is none."""
        return ""

    def normalise(self, image: Tensor) -> Tensor:
        """uint8 (B, C, ...) in 0..255 to float32, standardised with `mean` and `std`."""
        shape = (1, -1) + (1,) * (image.ndim - 2)
        return image.float().sub_(255 * self.mean.view(shape)).div_(255 * self.std.view(shape))

    def restore(self, image: Tensor) -> Tensor:
        """Normalised pictures or clips (B, C, ...) back to 0..1."""
        shape = (1, -1) + (1,) * (image.ndim - 2)
        return image * self.std.view(shape) + self.mean.view(shape)


class Neck(nn.Module):
    """Feature pyramid in, feature pyramid out."""

    features: Features

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        raise NotImplementedError


class Head(nn.Module):
    """Feature pyramid in, what the task needs out."""


class Fusion(nn.Module):
    """A clip through a backbone, its frames brought together: maps without time out.

    Some see the frames after the backbone only; others change the first layers, or all, of the backbone that they are
    made for. `features` describes what comes out.
    """

    features: Features

    def forward(self, backbone: Backbone, video: Tensor) -> list[Tensor]:
        """Normalised clips (B, 3, T, H, W) to maps (B, channels[i], h, w), fine to coarse."""
        raise NotImplementedError


NeckFactory = Callable[[Features], Neck]
HeadFactory = Callable[[Features, int], Head]  # int: number of outputs
FusionFactory = Callable[[Backbone, int], Fusion]  # int: frames of a clip


def nearest(word: str, words: list[str]) -> str:
    """A hint for a misspelt word: "; did you mean X?", or nothing when none is near."""
    match = get_close_matches(word, words, n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the operating system says about a full disk or a read-only folder into one sentence."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another --run_dir"
        ) from error
