"""Interface of backbones and of their weights."""

from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from modules.contracts.errors import ConfigError
from modules.contracts.pixels import pixel_scale, with_channels


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
        mean_image: buffer (C, H, W), subtracted in place of `mean`, its average; null without, as at first.
        name: its name in messages and files; by default that of the class.
        in_channels: channels C of the images.
        small_images: true if its stem is for images of about 64 pixels.
        pools: false where a task uses the maps alone; `forward` may then leave out what only `pool` needs.
        untrained: names of parameters in `net` that neither a run nor the weights it started from have trained.
        changed: layers that are others than published, such as `activation: softsign`; files of weights say them.
        arguments: plain values that shape its tensors beside `name`, `small_images` and `in_channels`, such as
            `options: {patch_size: 8}`; files of weights say them.
        tubelet: frames of a token of a `temporal` one; those of a clip are a multiple.
    """

    temporal: ClassVar[bool] = False
    net: nn.Module
    features: Features
    mean: Tensor
    std: Tensor
    mean_image: Tensor | None
    name: str = ""
    in_channels: int = 3
    small_images: bool = False
    pools: bool = True
    untrained: tuple[str, ...] = ()
    changed: dict[str, str] = {}  # never changed in place
    arguments: dict[str, Any] = {}  # never changed in place
    tubelet: int = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__dict__.get("name", cls.__name__)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean_image", None)

    @torch.no_grad()
    def set_normalization(self, mean: Tensor, std: Tensor, mean_image: Tensor | None = None) -> None:
        """Set `mean` and `std` (C,), of images scaled to 0..1, and `mean_image` (C, H, W)."""
        self.mean.copy_(mean)
        self.std.copy_(std)
        self.mean_image = None if mean_image is None else mean_image.to(self.mean)

    def _load_from_state_dict(self, state_dict: Any, prefix: Any, *args: Any, **kwargs: Any) -> None:
        found = state_dict.get(f"{prefix}mean_image")  # of any size, or none
        self.mean_image = None if found is None else torch.empty_like(found, device=self.mean.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def set_pools(self, pools: bool) -> None:
        """Set `pools`, as the task that uses the backbone needs it."""
        self.pools = pools

    def mark_untrained(self, names: Iterable[str]) -> None:
        """Set `untrained`, after weights are loaded or layers frozen."""
        self.untrained = tuple(names)

    def mark_changed(self, **layers: str) -> None:
        """Add to `changed`, after layers are exchanged."""
        self.changed = self.changed | layers

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
        """Pooled features (B, features.pooled) of the maps from `forward`.

        All layers between the last map and the classifier in the published network. Here global average pooling of the
        last map.
        """
        return maps[-1].flatten(2).mean(2)

    def classifier(self) -> nn.Module | None:
        """The published classifier, a `modules.backbones.classifiers.Classifier` whose weights are 0.

        Null if the network has none.
        """
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
        if self.mean_image is not None or not pixels.is_contiguous():
            return image.sub_(scale * self.subtracted(image)).div_(_per_channel(std, image))
        # channels last: a row at a time, because loops over three numbers are 5 times slower on a CPU
        width = pixels.shape[-2]
        pixels.view(-1, width * len(mean)).sub_(mean.repeat(width)).div_(std.repeat(width))
        return image

    def subtracted(self, image: Tensor) -> Tensor:
        """Mean, of images of 0..1, that is subtracted from images or clips (B, C, ...); broadcasts to them.

        Raises:
            ConfigError: the mean image has another size than the images.
        """
        if self.mean_image is None:
            return _per_channel(self.mean, image)
        (height, width), (high, wide) = self.mean_image.shape[1:], image.shape[-2:]
        if (height, width) != (high, wide):
            raise ConfigError(
                f"{self.name} subtracts a mean image of {height} x {width} pixels (data.normalization mean_image), but "
                f"the images have {high} x {wide}: set --data.image_size {height}"
            )
        return self.mean_image

    def restore(self, image: Tensor) -> Tensor:
        """Normalized images or clips (B, C, ...) back to 0..1."""
        return image * _per_channel(self.std, image) + self.subtracted(image)

    def standardize(self, pixels: Tensor) -> Tensor:
        """Images or clips (B, C, ...) of 0..1 to normalized ones: the inverse of `restore`, with a gradient."""
        return (pixels - self.subtracted(pixels)) / _per_channel(self.std, pixels)


def _per_channel(values: Tensor, image: Tensor) -> Tensor:
    """Values (C,) that broadcast to images or clips (B, C, ...)."""
    return values.view((1, -1) + (1,) * (image.ndim - 2))
