"""Inception-ResNet v1: Inception blocks that change a map a little, many times."""

from collections.abc import Callable
from functools import partial

from torch import nn

from modules.backbones.classics.blocks import Init, Parallel, Residual, convolution, initialize
from modules.backbones.classics.classifiers import Pooled
from modules.backbones.classics.network import Network, register
from modules.contracts import Features


@register
def inception_resnet_v1(
    num_classes: int = 1000,
    in_chans: int = 3,
    norm: str = "batchnorm",
    activation: str = "relu",
    init: Init = "kaiming",
    drop_path_rate: float = 0.0,
    scales: tuple[float, float, float] = (0.17, 0.1, 0.2),
) -> Network:
    """Inception-ResNet v1 for 299 x 299: 22,756,328 parameters.

    Szegedy et al. 2017, "Inception-v4, Inception-ResNet and the impact of residual connections on learning". Many of
    its layers do not pad. timm has `inception_resnet_v2`.

    Args:
        norm: by timm's name.
        activation: by timm's name.
        init: see `initialize`.
        drop_path_rate: probability of leaving out a block in training, 0..1.
        scales: of the residual branches of each stage, which keep training stable; 1 is none.
    """
    layer = partial(convolution, norm=norm, activation=activation)
    valid = partial(layer, padding=0)
    block = partial(_block, layer, activation=activation, drop_path=drop_path_rate)
    fine, middle, coarse = scales
    stages = [
        nn.Sequential(valid(in_chans, 32, 3, 2), valid(32, 32), layer(32, 64)),
        nn.Sequential(layer(64, 80, 1), valid(80, 192)),
        nn.Sequential(valid(192, 256, 3, 2), *(block(256, 32, [[1], [1, 3], [1, 3, 3]], scale=fine) for _ in range(5))),
        nn.Sequential(
            Parallel(
                [
                    valid(256, 384, 3, 2),
                    nn.Sequential(layer(256, 192, 1), layer(192, 192), valid(192, 256, 3, 2)),
                    nn.MaxPool2d(3, 2),
                ]
            ),
            *(block(896, 128, [[1], [1, (1, 7), (7, 1)]], scale=middle) for _ in range(10)),
        ),
        nn.Sequential(
            Parallel(
                [
                    nn.Sequential(layer(896, 256, 1), valid(256, 384, 3, 2)),
                    nn.Sequential(layer(896, 256, 1), valid(256, 256, 3, 2)),
                    nn.Sequential(layer(896, 256, 1), layer(256, 256), valid(256, 256, 3, 2)),
                    nn.MaxPool2d(3, 2),
                ]
            ),
            *(block(1792, 192, [[1], [1, (1, 3), (3, 1)]], scale=coarse) for _ in range(5)),
        ),
    ]
    features, head = Features([64, 192, 256, 896, 1792], [2, 4, 8, 16, 32]), Pooled(1792, num_classes, dropout=0.2)
    net = Network(stages, features, head, nn.MaxPool2d(3, 2), input_size=(in_chans, 299, 299), smallest=75)
    initialize(net, init)
    return net


def _block(
    layer: Callable[..., nn.Module], inputs: int, width: int, branches: list[list], activation: str, **options: float
) -> Residual:
    """Adds branches of convolutions with the kernels named, all `width` wide, brought back to the map's channels."""
    parallel = Parallel(
        nn.Sequential(*(layer(width if place else inputs, width, kernel) for place, kernel in enumerate(kernels)))
        for kernels in branches
    )
    back = nn.Conv2d(len(branches) * width, inputs, 1)
    return Residual(nn.Sequential(parallel, back), activation=activation, **options)
