"""Auxiliary classifiers of a backbone: where it was published with them, or on maps of any level (deep supervision)."""

from collections.abc import Callable, Sequence
from typing import Any

import timm
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.googlenet import InceptionAux as PublishedGoogLeNet
from torchvision.models.inception import InceptionAux as PublishedInception

from modules.backbones.classics.auxiliary import Watching, watch
from modules.backbones.classics.network import Network
from modules.contracts import Backbone, ConfigError

Kind = Callable[[nn.Module, int, int], Watching]


class PublishedAuxiliary(Watching):
    """Auxiliary classifier that is torchvision's own module, with its initial weights: GoogLeNet's.

    Args:
        watched: module whose map it classifies.
        inputs: channels of the map.
        num_classes: number of logits.
    """

    kind: Callable[[int, int], nn.Module] = PublishedGoogLeNet
    std: float = 0.01

    def __init__(self, watched: nn.Module, inputs: int, num_classes: int):
        super().__init__(watched)
        self.classifier: Any = type(self).kind(inputs, num_classes)
        _draw(self.classifier, self.std)

    def logits(self, x: Tensor) -> Tensor:
        return self.classifier(x)


class InceptionAuxiliary(PublishedAuxiliary):
    """The same of Inception v3 (Szegedy et al. 2016).

    Maps smaller than the 17 x 17 of images of 299 x 299 are enlarged to its kernel.
    """

    kind = PublishedInception
    std = 0.1

    def __init__(self, watched: nn.Module, inputs: int, num_classes: int):
        super().__init__(watched, inputs, num_classes)
        _draw(self.classifier.fc, 0.001)

    def logits(self, x: Tensor) -> Tensor:
        layers = self.classifier
        x = layers.conv0(functional.avg_pool2d(x, 5, 3) if min(x.shape[-2:]) >= 5 else x)
        x = layers.conv1(x if min(x.shape[-2:]) >= 5 else functional.adaptive_avg_pool2d(x, 5))
        return layers.fc(x.mean((-2, -1)))


class PooledAuxiliary(Watching):
    """Linear classifier on the mean of a normalized and rectified map, as at the end of a DenseNet.

    Args:
        watched: module whose map it classifies.
        inputs: channels of the map.
        num_classes: number of logits.
        level: see `Watching`.
    """

    def __init__(self, watched: nn.Module, inputs: int, num_classes: int, level: int | None = None):
        super().__init__(watched, level)
        self.norm = nn.BatchNorm2d(inputs)
        self.fc = nn.Linear(inputs, num_classes)

    def logits(self, x: Tensor) -> Tensor:
        return self.fc(functional.relu(self.norm(x)).mean((-2, -1)))


def auxiliaries(backbone: Backbone, num_classes: int, levels: Sequence[int] | None = None) -> nn.ModuleList:
    """The auxiliary classifiers that a backbone was published with, or such of its levels.

    They belong to the task, not to the backbone, whose exported weights stay those of its stages. GoogLeNet has them
    on its maps 4a and 4d, Inception v3 on the last map of 17 x 17 cells, a DenseNet behind all dense blocks but the
    last.

    Args:
        backbone: whose maps they classify.
        num_classes: number of logits.
        levels: of the backbone's maps, from 0 (deep supervision, Lee et al. 2015); null is as published.

    Raises:
        ConfigError: it was published without, or has no such levels.
    """
    if levels is not None:
        return _on_levels(backbone, num_classes, levels)
    net = getattr(backbone, "net", None)
    if isinstance(net, Network) and net.auxiliary_points:
        return watch(net, num_classes)
    if isinstance(net, torchvision.models.GoogLeNet):
        places = {"inception4a": 512, "inception4d": 528}
        return _at(net, PublishedAuxiliary, places, num_classes)
    if isinstance(net, torchvision.models.Inception3 | timm.models.InceptionV3):
        return _at(net, InceptionAuxiliary, {"Mixed_6e": 768}, num_classes)
    if isinstance(net, torchvision.models.DenseNet | timm.models.DenseNet):
        numbers = [path.removeprefix("transition") for path, _ in net.features.named_children() if "transition" in path]
        places = {
            f"features.denseblock{n}": net.get_parameter(f"features.transition{n}.conv.weight").shape[1]
            for n in numbers
        }
        return _at(net, PooledAuxiliary, places, num_classes)
    raise ConfigError(
        f"{backbone.name} was published without auxiliary classifiers: say on which of its maps, such as "
        f"--model.aux_levels [{max(0, len(backbone.features.channels) - 2)}], set model.aux_loss_weight to 0, or "
        "model.backbone to inception_v1, googlenet, inception_v3 or a DenseNet"
    )


def _at(net: nn.Module, kind: Kind, places: dict[str, int], num_classes: int) -> nn.ModuleList:
    return nn.ModuleList(kind(net.get_submodule(path), inputs, num_classes) for path, inputs in places.items())


def _on_levels(backbone: Backbone, num_classes: int, levels: Sequence[int]) -> nn.ModuleList:
    channels = backbone.features.channels
    if not levels or len(set(levels)) < len(levels) or not all(0 <= level < len(channels) for level in levels):
        raise ConfigError(
            f"model.aux_levels is {list(levels)}, but the maps of {backbone.name} have levels 0 to "
            f"{len(channels) - 1}, each to be named once"
        )
    return nn.ModuleList(PooledAuxiliary(backbone, channels[level], num_classes, level) for level in levels)


def _draw(module: nn.Module, std: float) -> None:
    """Draw convolutions and linear layers from the normal distribution of torchvision's Inceptions."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=std)
