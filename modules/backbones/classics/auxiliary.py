"""Auxiliary classifiers on intermediate maps, with their own loss in training."""

from torch import Tensor, nn
from torch.nn import functional

from modules.backbones.classics.blocks import convolution, initialize
from modules.backbones.classics.network import Network
from modules.contracts import Backbone, ConfigError


class Auxiliary(nn.Module):
    """Auxiliary classifier on the map of one stage of a network (Szegedy et al. 2015), in training only.

    In training it keeps the map as it comes by, until it is called; in evaluation it does nothing.

    Args:
        stage: module whose output it classifies.
        inputs: channels of the stage's map.
        num_classes: number of logits.
    """

    def __init__(self, stage: nn.Module, inputs: int, num_classes: int):
        super().__init__()
        self.conv = convolution(inputs, 128, 1, norm=None)
        self.hidden = convolution(128, 1024, 4, padding=0, norm=None)
        self.dropout = nn.Dropout(0.7)
        self.fc = nn.Linear(1024, num_classes)
        self.map: Tensor | None = None
        initialize(self, "xavier")
        stage.register_forward_hook(self._keep)

    def forward(self) -> Tensor:
        """Logits (B, num_classes) of the last map of the stage."""
        x, self.map = self.map, None
        x = functional.avg_pool2d(x, 5, 3) if min(x.shape[-2:]) >= 5 else x
        x = functional.adaptive_avg_pool2d(self.conv(x), 4)  # for images of 224 x 224 it is 4 x 4 already
        return self.fc(self.dropout(self.hidden(x).flatten(1)))

    def _keep(self, stage: nn.Module, inputs: tuple[Tensor, ...], x: Tensor) -> None:
        if self.training:
            self.map = x


def watch(net: Network, num_classes: int) -> nn.ModuleList:
    """New auxiliary classifiers of `net`, one at each of its `auxiliary_points`."""
    points = [(net.stages[point], net.feature_info[point]["num_chs"]) for point in net.auxiliary_points]
    return nn.ModuleList(Auxiliary(stage, channels, num_classes) for stage, channels in points)


def auxiliaries(backbone: Backbone, num_classes: int) -> nn.ModuleList:
    """The auxiliary classifiers that a backbone was published with.

    They belong to the task, not to the backbone, whose exported weights stay those of its stages.

    Raises:
        ConfigError: it was published without.
    """
    net = getattr(backbone, "net", None)
    if not isinstance(net, Network) or not net.auxiliary_points:
        raise ConfigError(
            f"{backbone.name} has no auxiliary classifiers: set model.aux_loss_weight to 0, or model.backbone to "
            "inception_v1"
        )
    return watch(net, num_classes)
