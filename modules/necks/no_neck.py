"""For heads that look at the backbone's own maps."""

from torch import Tensor

from modules.contracts import Features, Neck


class NoNeck(Neck):
    """Leaves the maps as they are: for heads that need no neck, where one is the default."""

    def __init__(self, features: Features):
        super().__init__()
        self.features = features

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The same maps."""
        return maps
