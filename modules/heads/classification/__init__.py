"""Classification heads."""

from modules.heads.classification.fully_connected import FullyConnected
from modules.heads.classification.linear import Linear
from modules.heads.classification.published import Published

__all__ = ["FullyConnected", "Linear", "Published"]
