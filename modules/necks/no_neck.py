"""Identity neck, for heads on the backbone's own maps."""

from torch import Tensor

from modules.contracts import Features, Neck


class NoNeck(Neck):
    """Identity neck: for heads that need none, where another is the default."""

    def __init__(self, features: Features):
        super().__init__()
        self.features = features

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The same maps."""
        return maps
