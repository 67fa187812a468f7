"""VGG's configuration C, and initialization of a deep VGG from a shallower one."""

from itertools import pairwise

from torch import nn

from modules.backbones.classics.blocks import Init, convolution, initialize
from modules.backbones.classics.classifiers import fully_connected
from modules.backbones.classics.network import Network, register
from modules.contracts import ConfigError, Features

C = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


@register
def vgg16_c(
    num_classes: int = 1000,
    in_chans: int = 3,
    norm: str = "none",
    activation: str = "relu",
    init: Init = "xavier",
    widths: tuple[tuple[int, ...], ...] = C,
    hidden: int = 4096,
) -> Network:
    """VGG-16, configuration C.

    The last convolution of the three coarsest stages is 1x1 (Simonyan and Zisserman 2015, "Very deep convolutional
    networks for large-scale image recognition"), for 224 x 224: 133,638,952 parameters.

    Args:
        norm: behind each convolution, by timm's name, or `none`.
        activation: behind all layers but the last, by timm's name.
        init: `xavier` trains from nothing; with `gaussian`, the paper's first way, begin with a
            shallower one: see `deepen`.
        widths: channels of each convolution, by stages.
        hidden: units of the fully connected layers.
    """
    stages, inputs = [], in_chans
    for index, stage in enumerate(widths):
        kernels = [1 if place == 2 else 3 for place in range(len(stage))]
        layers = [
            convolution(before, after, kernel, norm=norm, activation=activation)
            for (before, after), kernel in zip(pairwise([inputs, *stage]), kernels, strict=True)
        ]
        stages.append(nn.Sequential(*[nn.MaxPool2d(2)] * (index > 0), *layers))
        inputs = stage[-1]
    features = Features([*(stage[-1] for stage in widths), inputs], [2**i for i in range(len(widths) + 1)])
    head = fully_connected(inputs, 7, hidden, num_classes, activation)
    size, smallest = (in_chans, 224, 224), 2 ** len(widths)
    net = Network([*stages, nn.MaxPool2d(2)], features, head, input_size=size, smallest=smallest)
    initialize(net, init)
    return net


def deepen(deeper: nn.Module, shallower: nn.Module) -> list[str]:
    """Copy the first four convolutions and the fully connected layers of a shallower VGG into a deeper one.

    In place, as the paper initialized its deep networks (section 3.1). Norms go with their convolutions.

    In a task, `--model.backbone vgg16_c --model.weights RUN` does so when the run's backbone is, say, vgg11; the last
    layer, in the task's head, goes along if both have the same classes.

    Args:
        deeper: any VGG, timm's or ours, with classes or without.
        shallower: such as `vgg11`.

    Returns:
        The names of the layers that were filled.

    Raises:
        ConfigError: a layer is missing or of another shape, so at least one of them is no VGG.
    """
    there, here, filled = _places(shallower), _places(deeper), []
    first = [place[:2] for place, (_, layer) in there.items() if isinstance(layer, nn.Conv2d)][:4]
    for place, (name, layer) in there.items():
        if place[:2] not in first and (place[0] != "head" or place not in here):
            continue
        own, target = here.get(place, ("", layer))
        if not own or target.weight.numel() != layer.weight.numel():
            raise ConfigError(f"{name} of the shallower network has no equal in the deeper one: both must be VGGs")
        target.load_state_dict({k: v.view_as(target.state_dict()[k]) for k, v in layer.state_dict().items()})
        filled.append(own)
    return filled


def depth(net: nn.Module) -> int:
    """Number of convolutions of a VGG before its fully connected layers."""
    return sum(stage != "head" and kind == "weights" for stage, _, kind in _places(net))


def _places(net: nn.Module) -> dict[tuple[int | str, int, str], tuple[str, nn.Module]]:
    """Layers with weights by stage (after how many max-pools, or "head"), number of the convolution in it, and kind."""
    places, stage, number = {}, 0, -1
    for name, layer in net.named_modules():
        if isinstance(layer, nn.MaxPool2d):
            stage, number = stage + 1, -1
        elif isinstance(getattr(layer, "weight", None), nn.Parameter):
            if name.startswith(("head", "pre_logits", "classifier")) and stage != "head":  # ours, timm's, torchvision's
                stage, number = "head", -1
            mixes = isinstance(layer, nn.Conv2d | nn.Linear)
            number += mixes
            places[stage, number, "weights" if mixes else "norm"] = name, layer
    return places
