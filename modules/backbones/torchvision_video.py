"""Torchvision's networks for clips through the one backbone contract."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import get_model, get_model_weights

from modules.backbones.classifiers import Classifier
from modules.backbones.torchvision import library_weights, statistics
from modules.contracts import Backbone, ConfigError, Features, Maps, Weights


class Family(NamedTuple):
    """Configuration of a family of torchvision's video networks.

    Args:
        features: channels and strides of the maps.
        classifier: name of the child module that is the classifier.
        maps: (network, clips) to maps.
        layers: pattern of the layers for layer-wise learning-rate decay (`optim.layer_decay`).
    """

    features: Features
    classifier: str
    maps: Callable[[nn.Module, Tensor], list[Tensor]]
    layers: str


class TorchvisionVideo(Backbone):
    """A network for clips from torchvision: clips in, pyramid of maps (B, C, t, h, w) out.

    `net` is torchvision's network without classifier: its tensors keep torchvision's names. mvit has one map only, its
    cells, without the class token, which is its pooled features.

    Args:
        name: `r3d_18`, `mc3_18`, `r2plus1d_18`, `s3d`, `mvit_v1_b`, `mvit_v2_s`, `swin3d_t`, `swin3d_s` or `swin3d_b`.

    Raises:
        ConfigError: another name.
    """

    temporal = True

    def __init__(self, name: str):
        super().__init__()
        if name not in FAMILIES:
            raise ConfigError(f"torchvision has no network for clips called {name!r}, but {', '.join(FAMILIES)}")
        self.family = FAMILIES[name]
        self.name, self.small_images, self.in_channels, self.features = name, False, 3, self.family.features
        self.net = get_model(name)
        setattr(self.net, self.family.classifier, nn.Identity())
        self.net.pretrained_cfg = {"classifier": self.family.classifier}
        self.net.group_matcher = self._layers
        for key, values in statistics(name).items():
            self.register_buffer(key, torch.tensor(values))

    def forward(self, video: Tensor) -> list[Tensor]:
        check_clips(self, video)
        return self.family.maps(self.net, video)

    def pool(self, maps: list[Tensor]) -> Tensor:
        if self.family is MVIT:
            return maps.end[:, 0]
        if self.family is S3D:  # torchvision averages windows first, so frames at the ends count less
            kernel = [min(side, most) for side, most in zip(maps[-1].shape[2:], (2, 7, 7), strict=True)]
            return functional.avg_pool3d(maps[-1], kernel, stride=1).flatten(2).mean(2)
        return super().pool(maps)

    def classifier(self) -> Classifier:
        with torch.device("meta"):
            head = get_model(self.name).get_submodule(self.family.classifier)
        path, layer = [(n, m) for n, m in head.named_modules() if isinstance(m, nn.Linear | nn.Conv3d)][-1]
        takes = "cells" if isinstance(layer, nn.Conv3d) else "pooled"
        return Classifier({f"{self.family.classifier}.{path}".rstrip("."): layer}, takes)

    def class_names(self) -> list[str]:
        return get_model_weights(self.name).DEFAULT.meta["categories"]

    def pretrained(self) -> Weights:
        return library_weights(self.name, self)

    @property
    def weights_file(self) -> str:
        return get_model_weights(self.name).DEFAULT.url

    def _layers(self, coarse: bool = False) -> dict[str, str]:
        return {"stem": r"^(?:stem|patch_embed|conv_proj|pos_encoding)", "blocks": self.family.layers}


def check_clips(backbone: Backbone, video: Tensor) -> None:
    """Validate `video` (B, 3, T, H, W) as input of a network for clips.

    Raises:
        ConfigError: images, or clips that are too short or of another size than its positions are made for.
    """
    name = backbone.name
    if video.ndim != 5:
        raise ConfigError(f"{name} takes clips, not images: choose another --model.backbone, such as resnet18")
    shape, exact = tuple(video.shape[2:]), (16, 224, 224)
    if name.startswith("mvit") and shape != exact:
        raise ConfigError(
            f"{name} takes clips of 16 frames of 224 x 224 pixels, not {shape[0]} of {shape[1]} x {shape[2]}: "
            f"set --data.frames 16 --data.image_size 224"
        )
    if name == "s3d" and shape[0] < 5:
        raise ConfigError(f"s3d takes clips of 5 frames or more, not {shape[0]}: raise --data.frames")


def _resnet(net: nn.Module, video: Tensor) -> list[Tensor]:
    maps = [net.stem(video)]
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        maps.append(stage(maps[-1]))
    return maps[1:]


def _s3d(net: nn.Module, video: Tensor) -> list[Tensor]:
    maps = [video]
    for first, end in pairwise((0, 1, 4, 7, 13, 16)):  # a max-pool begins each stage
        maps.append(net.features[first:end](maps[-1]))
    return maps[1:]


def _swin(net: nn.Module, video: Tensor) -> list[Tensor]:
    maps = [net.features[0](net.pos_drop(net.patch_embed(video)))]
    for first in (1, 3, 5):
        maps.append(net.features[first : first + 2](maps[-1]))
    maps[-1] = net.norm(maps[-1])
    return [cells.permute(0, 4, 1, 2, 3) for cells in maps]


def _mvit(net: nn.Module, video: Tensor) -> Maps:
    cells = net.pos_encoding(net.conv_proj(video).flatten(2).transpose(1, 2))
    sides = (net.pos_encoding.temporal_size, *net.pos_encoding.spatial_size)
    for block in net.blocks:
        cells, sides = block(cells, sides)
    tokens = net.norm(cells)
    return Maps([tokens[:, 1:].transpose(1, 2).unflatten(2, sides)], tokens)


RESNET = Family(Features([64, 128, 256, 512], [2, 4, 8, 16]), "fc", _resnet, r"^layer(\d+)")
S3D = Family(Features([64, 192, 480, 832, 1024], [2, 4, 8, 16, 32]), "classifier", _s3d, r"^features\.(\d+)")
MVIT = Family(Features([768], [32]), "head", _mvit, r"^blocks\.(\d+)")
SWIN = Family(Features([96, 192, 384, 768], [4, 8, 16, 32]), "head", _swin, r"^features\.(\d+)")
FAMILIES = {
    **dict.fromkeys(("r3d_18", "mc3_18", "r2plus1d_18"), RESNET),
    "s3d": S3D,
    **dict.fromkeys(("mvit_v1_b", "mvit_v2_s"), MVIT),
    **dict.fromkeys(("swin3d_t", "swin3d_s"), SWIN),
    "swin3d_b": SWIN._replace(features=Features([128, 256, 512, 1024], [4, 8, 16, 32])),
}
