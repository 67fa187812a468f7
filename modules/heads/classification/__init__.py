"""Classification heads: maps or pooled features to logits, with their loss."""

from modules.heads.classification.fully_connected import FullyConnected
from modules.heads.classification.lifted import Lifted
from modules.heads.classification.linear import Linear
from modules.heads.classification.published import published

__all__ = ["FullyConnected", "Lifted", "Linear", "published"]
