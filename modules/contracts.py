"""Interfaces between the parts: backbones, feature pyramids, batches, predictions and the two kinds of user error."""

from collections.abc import Callable, Iterable, Iterator
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
"""Ignore index of semantic maps: void pixels, and the padding around an image."""

SURPLUS = "surplus"
"""Key of a surplus batch, left out of metrics: given to a device without a batch of its own, so that all take part."""

GREEDY = "_greedy"
"""Suffix of metrics of greedy search, in validations between epochs."""


LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


class ConfigError(Exception):
    """A wrong command or setting; one sentence, exit code 2."""


class DataError(Exception):
    """Wrong data or files; one sentence, exit code 1."""


class _Levels(NamedTuple):
    channels: list[int]
    strides: list[int]


class Features(_Levels):
    """Feature maps, fine to coarse; as a tuple, `(channels, strides)`.

    Args:
        channels: channels of each level.
        strides: pixels of the image that one cell of each level spans.
        pooled: width of the pooled features (B, pooled); null is that of the last level, whose mean they are.
    """

    pooled: int

    def __new__(cls, channels: list[int], strides: list[int], pooled: int | None = None) -> "Features":
        features = super().__new__(cls, channels, strides)
        features.pooled = pooled or (channels[-1] if channels else 0)
        return features


class Maps(list[Tensor]):
    """The maps of a backbone, fine to coarse, and the `end` of the network: the input of `Backbone.pool`.

    Args:
        maps: (B, C, h, w) each.
        end: output of the network's last layer before pooling (of a ViT all its tokens, the class token included), or
            of a fusion its pooled features; null where nothing was to be pooled.
    """

    def __init__(self, maps: Iterable[Tensor] = (), end: Any = None):
        super().__init__(maps)
        self.end = end


class Weights(NamedTuple):
    """A backbone's tensors under its library's names, and metadata about them.

    `about`: name, small_images, mean, std, epoch, task, untrained: whatever the source knows, all plain values.
    `classifier`: tensors of the library's classifier, where the source has them.
    """

    tensors: dict[str, Tensor]
    about: dict[str, Any]
    source: str
    classifier: dict[str, Tensor] = {}  # never changed


class Backbone(nn.Module):
    """Image in, feature pyramid out: level i is (B, channels[i], H/strides[i], W/strides[i]).

    A `temporal` one takes clips (B, C, T, H, W) and gives maps (B, channels[i], t, H/strides[i], W/strides[i]).

    A backbone of your own must set `net`, `features`, `mean` and `std`, and define `forward`; the rest has defaults. A
    task checks all of this when it is built (`modules.backbones.reach.survey`).

    Attributes:
        net: all its layers; files of weights hold its tensors under its own names. Its `pretrained_cfg`, a dict, may
            name `input_size` (channels, height, width), `first_conv` and `classifier`, as timm's networks do.
        features: channels and strides of the maps, and the width of the pooled features.
        mean: buffer (C,), mean of the images (scaled to 0..1) that its weights expect. It lives here, so that it
            travels with the weights: into checkpoints, exports and other tasks.
        std: as `mean`, standard deviations.
        name: its name in messages and files; by default that of the class.
        in_channels: channels C of the images.
        small_images: true if its stem is for images of about 64 pixels.
        pools: false where a task uses the maps alone; `forward` may then leave out what only `pool` needs.
        untrained: names of parameters in `net` that neither a run nor the weights it started from have trained.
    """

    temporal: ClassVar[bool] = False
    net: nn.Module
    features: Features
    mean: Tensor
    std: Tensor
    name: str = ""
    in_channels: int = 3
    small_images: bool = False
    pools: bool = True
    untrained: tuple[str, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__dict__.get("name", cls.__name__)

    @property
    def config(self) -> dict[str, Any]:
        """Pretrained config of the network, under timm's names: `input_size`, `first_conv`, `classifier`, ..."""
        return getattr(self.net, "pretrained_cfg", None) or {}

    @property
    def memory_format(self) -> torch.memory_format:
        """Channels last, as the batches are: 1.5 to 1.8 times faster on a CPU."""
        return torch.channels_last_3d if self.temporal else torch.channels_last

    def forward(self, image: Tensor) -> list[Tensor]:
        """Normalized images to maps, fine to coarse; `Maps` where `pool` needs more than the last of them."""
        raise NotImplementedError

    def pool(self, maps: list[Tensor]) -> Tensor:
        """Pooled features (B, features.pooled) of the maps from `forward`: all layers between the last map and the
        classifier in the published network. Here global average pooling of the last map."""
        return maps[-1].flatten(2).mean(2)

    def classifier(self) -> nn.Module | None:
        """The published classifier, a `modules.backbones.classifiers.Classifier` whose weights are 0; null if the
        network has none."""
        return None

    def class_names(self) -> list[str] | None:
        """Names of the K classes of that classifier; null where the library does not know them."""
        return None

    def pretrained(self) -> Weights:
        """The library's own weights; any exception when they cannot be had."""
        raise LookupError("there are none")

    @property
    def weights_file(self) -> str:
        """Name or URL of the file of those weights; empty if there is none."""
        return ""

    def normalize(self, image: Tensor) -> Tensor:
        """Images or clips (B, C, ...) to float32, standardized with `mean` and `std`.

        The channels become those of the backbone: three to one by brightness (ITU-R BT.601), one to any by repetition.

        Args:
            image: uint8 in 0..255, or floats in 0..1.

        Raises:
            ConfigError: other values or channels, which would be misread.
        """
        scale = pixel_scale(image)
        image = with_channels(image, self.mean.numel()).to(torch.float32, copy=True)
        mean, std, pixels = scale * self.mean, scale * self.std, image.movedim(1, -1)
        if not pixels.is_contiguous():
            shape = (1, -1) + (1,) * (image.ndim - 2)
            return image.sub_(mean.view(shape)).div_(std.view(shape))
        # channels last: a row at a time, because loops over three numbers are 5 times slower on a CPU
        width = pixels.shape[-2]
        pixels.view(-1, width * len(mean)).sub_(mean.repeat(width)).div_(std.repeat(width))
        return image

    def restore(self, image: Tensor) -> Tensor:
        """Normalized images or clips (B, C, ...) back to 0..1."""
        shape = (1, -1) + (1,) * (image.ndim - 2)
        return image * self.std.view(shape) + self.mean.view(shape)


def pixel_scale(image: Tensor) -> float:
    """The value of white in images: 255 of uint8, 1 of floats.

    Raises:
        DataError: floats beyond 0..1, or another type.
    """
    if image.dtype == torch.uint8:
        return 255.0
    if not image.is_floating_point():
        raise DataError(f"images are uint8 in 0..255 or floats in 0..1, but the data gives {image.dtype}: convert them")
    if image.numel() and image.device.type != "meta":
        low, high = torch.stack(image.aminmax()).tolist()
        if not 0 <= low <= high <= 1:
            raise DataError(
                f"images are uint8 in 0..255 or floats in 0..1, but the data gives floats from {low:.3g} to {high:.3g}"
                f": leave scaling and normalization to the task"
            )
    return 1.0


def with_channels(image: Tensor, channels: int) -> Tensor:
    """Images (B, C, ...) with as many channels: three become one by brightness (ITU-R BT.601, whole numbers of uint8),
    one becomes any number by repetition.

    Raises:
        ConfigError: other numbers of channels.
    """
    found = image.shape[1]
    if found == channels:
        return image
    if found == 1:
        return image.expand(-1, channels, *image.shape[2:])
    if (found, channels) != (3, 1):
        raise ConfigError(
            f"the data gives images of {found} channels, but the backbone takes {channels}: set --model.backbone Timm "
            f"--model.backbone.in_channels {found}, or give other --data"
        )
    weights = torch.tensor(LUMA, device=image.device).view(1, 3, *[1] * (image.ndim - 2))
    gray = (image.float() * weights).sum(1, keepdim=True)
    return gray.round_() if image.dtype == torch.uint8 else gray


class Neck(nn.Module):
    """Feature pyramid in, feature pyramid out."""

    features: Features

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        raise NotImplementedError


class Head(nn.Module):
    """Base of the heads: feature pyramid in, the output of the task out.

    Attributes: `pools` marks heads that take pooled features (B, features.pooled) in place of the maps; `loss_name`, of
    heads with a loss, is that loss in words, with all that changes it, for protocols.
    """

    pools: ClassVar[bool] = False
    loss_name: str = "loss of the head"


def through(backbone: Backbone, head: Head, image: Tensor) -> Tensor:
    """Normalized images through a backbone and a head on its maps, or on its pooled features if the head `pools`."""
    maps = backbone(image)
    return head(backbone.pool(maps) if head.pools else maps)


class Fusion(nn.Module):
    """Temporal fusion of a clip through a backbone: maps without time out.

    Some see the frames after the backbone only; others change the first layers, or all, of the backbone that they are
    made for. `features` describes what comes out; `pools` is true if it uses the backbone's pooled features,
    whatever the head does.
    """

    features: Features
    pools: bool = False

    def forward(self, backbone: Backbone, video: Tensor) -> Maps:
        """Normalized clips (B, 3, T, H, W) to maps (B, channels[i], h, w), fine to coarse, and pooled features
        (B, features.pooled) as their `end`, which is null if `backbone.pools` is not set."""
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
    """Turn an OSError, such as a full disk or a read-only folder, into a DataError of one sentence."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another --run_dir"
        ) from error
