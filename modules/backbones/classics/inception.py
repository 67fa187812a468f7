"""Inception: GoogLeNet as published, and its successor with batch norm."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from modules.backbones.classics.auxiliary import watch
from modules.backbones.classics.blocks import Init, Parallel, convolution, initialize, response_norm
from modules.backbones.classics.classifiers import Pooled
from modules.backbones.classics.network import Network, register
from modules.contracts import ConfigError, Features

Layer = Callable[..., nn.Module]
V1 = (
    (True, ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64))),
    (True, ((192, 96, 208, 16, 48, 64),)),
    (False, ((160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64))),
    (False, ((256, 160, 320, 32, 128, 128),)),
    (True, ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128))),
)
"""GoogLeNet's stages: a max-pool before it or not, and the sizes of its modules, see `_inception`."""


class GoogLeNet(Network):
    """May have its auxiliary classifiers inside.

    In training its output is (logits, [theirs]) then, whose losses count 0.3 each. In a task they are the task's:
    `--model.aux_loss_weight 0.3`.
    """

    auxiliary_points = (3, 4)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.auxiliaries = nn.ModuleList()

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, list[Tensor]]:
        logits = super().forward(image)
        if not self.training or not self.auxiliaries:
            return logits
        return logits, [auxiliary() for auxiliary in self.auxiliaries]

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        super().reset_classifier(num_classes, global_pool)
        if not num_classes:
            self._drop_auxiliaries()
        for auxiliary in self.auxiliaries:
            auxiliary.fc = nn.Linear(auxiliary.fc.in_features, num_classes)

    def prune_intermediate_layers(self, *args: Any, **kwargs: Any) -> list[int]:
        self._drop_auxiliaries()
        return super().prune_intermediate_layers(*args, **kwargs)

    def _drop_auxiliaries(self) -> None:
        self.auxiliaries.eval()  # so that they keep no maps any more
        self.auxiliaries = nn.ModuleList()


@register
def inception_v1(
    num_classes: int = 1000,
    in_chans: int = 3,
    auxiliary: bool = False,
    norm: str = "lrn",
    activation: str = "relu",
    init: Init = "xavier",
    naive: bool = False,
) -> Network:
    """GoogLeNet as published (Szegedy et al. 2015, "Going deeper with convolutions") for 224 x 224.

    5x5 branches, local response normalization, no batch norm. torchvision's `googlenet` has 3x3 branches and batch
    norm.

    6,998,552 parameters, and 13,378,280 with both auxiliary classifiers.

    Args:
        auxiliary: with the classifiers of maps 4a and 4d inside, see `GoogLeNet`.
        norm: `lrn` around the second convolution, `none` without, and a norm of timm's, such as `batchnorm`, goes into
            every convolution.
        activation: by timm's name.
        init: see `initialize`.
        naive: without the 1x1 convolutions before 3x3, 5x5 and after the max-pool, so that the channels add up from
            module to module (figure 2a of the paper): 97,526,008 parameters.

    Raises:
        ConfigError: auxiliary classifiers without classes.
    """
    layer = partial(convolution, norm="none" if norm == "lrn" else norm, activation=activation)
    stages = [
        nn.Sequential(layer(in_chans, 64, 7, 2)),
        nn.Sequential(*response_norm(norm), layer(64, 64, 1), layer(64, 192), *response_norm(norm)),
    ]
    inputs, channels = 192, [64, 192]
    for pools, modules in V1:
        blocks: list[nn.Module] = [_pool()] * pools
        for sizes in modules:
            blocks.append((_naive if naive else _inception)(layer, inputs, *sizes))
            one, _, three, _, five, pooled = sizes
            inputs = one + three + five + (inputs if naive else pooled)
        stages.append(nn.Sequential(*blocks))
        channels.append(inputs)
    features = Features(channels, [2, 4, 8, 16, 16, 16, 32])
    head, size = Pooled(inputs, num_classes, dropout=0.4), (in_chans, 224, 224)
    net = GoogLeNet(stages, features, head, _pool(), input_size=size, smallest=31)
    initialize(net, init)
    if auxiliary and not num_classes:
        raise ConfigError("inception_v1 without classes has no auxiliary classifiers: leave auxiliary out")
    if auxiliary:
        net.auxiliaries = watch(net, num_classes)
    return net


@register
def bn_inception(
    num_classes: int = 1000,
    in_chans: int = 3,
    norm: str = "batchnorm",
    activation: str = "relu",
    init: Init = "kaiming",
) -> Network:
    """Inception v2 (Ioffe and Szegedy 2015, "Batch normalization") for 224 x 224.

    Two 3x3 in place of each 5x5, and convolutions that stride in place of pools between the stages. 11,285,224
    parameters.

    Args:
        norm: by timm's name.
        activation: by timm's name.
        init: see `initialize`.
    """
    layer = partial(convolution, norm=norm, activation=activation)
    inception, reduction = partial(_double, layer), partial(_reduction, layer)
    stages = [
        nn.Sequential(layer(in_chans, 64, 7, 2)),
        nn.Sequential(layer(64, 64, 1), layer(64, 192)),
        nn.Sequential(
            nn.MaxPool2d(3, 2, padding=1),
            inception(192, 64, 64, 64, 64, 96, 32),
            inception(256, 64, 64, 96, 64, 96, 64),
        ),
        nn.Sequential(
            reduction(320, 128, 160, 64, 96),
            inception(576, 224, 64, 96, 96, 128, 128),
            inception(576, 192, 96, 128, 96, 128, 128),
            inception(576, 160, 128, 160, 128, 160, 128),
            inception(608, 96, 128, 192, 160, 192, 128),
        ),
        nn.Sequential(
            reduction(608, 128, 192, 192, 256),
            inception(1056, 352, 192, 320, 160, 224, 128),
            inception(1024, 352, 192, 320, 192, 224, 128, nn.MaxPool2d),
        ),
    ]
    features, head = Features([64, 192, 320, 608, 1024], [2, 4, 8, 16, 32]), Pooled(1024, num_classes)
    net = Network(stages, features, head, nn.MaxPool2d(3, 2, padding=1), input_size=(in_chans, 224, 224))
    initialize(net, init)
    return net


def _inception(
    layer: Layer, inputs: int, one: int, narrow: int, three: int, narrower: int, five: int, pooled: int
) -> Parallel:
    """1x1, 3x3 and 5x5 convolutions and a max-pool of the same map; 1x1 make the map narrow where that saves work."""
    return Parallel(
        [
            layer(inputs, one, 1),
            nn.Sequential(layer(inputs, narrow, 1), layer(narrow, three)),
            nn.Sequential(layer(inputs, narrower, 1), layer(narrower, five, 5)),
            nn.Sequential(nn.MaxPool2d(3, 1, padding=1), layer(inputs, pooled, 1)),
        ]
    )


def _naive(
    layer: Layer, inputs: int, one: int, narrow: int, three: int, narrower: int, five: int, pooled: int
) -> Parallel:
    """As `_inception` without 1x1 convolutions that make maps narrow: the pooled map is passed on whole."""
    return Parallel(
        [layer(inputs, one, 1), layer(inputs, three), layer(inputs, five, 5), nn.MaxPool2d(3, 1, padding=1)]
    )


def _double(
    layer: Layer,
    inputs: int,
    one: int,
    narrow: int,
    three: int,
    narrower: int,
    twice: int,
    pooled: int,
    pool: type[nn.Module] = nn.AvgPool2d,
) -> Parallel:
    """As `_inception`, with two 3x3 convolutions in place of the 5x5."""
    return Parallel(
        [
            layer(inputs, one, 1),
            nn.Sequential(layer(inputs, narrow, 1), layer(narrow, three)),
            nn.Sequential(layer(inputs, narrower, 1), layer(narrower, twice), layer(twice, twice)),
            nn.Sequential(pool(3, 1, padding=1), layer(inputs, pooled, 1)),
        ]
    )


def _reduction(layer: Layer, inputs: int, narrow: int, three: int, narrower: int, twice: int) -> Parallel:
    """As `_double` with stride 2: no 1x1 branch, and the pooled map as it is."""
    return Parallel(
        [
            nn.Sequential(layer(inputs, narrow, 1), layer(narrow, three, 3, 2)),
            nn.Sequential(layer(inputs, narrower, 1), layer(narrower, twice), layer(twice, twice, 3, 2)),
            nn.MaxPool2d(3, 2, padding=1),
        ]
    )


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)
