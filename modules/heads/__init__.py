"""Heads: feature pyramid in, what a task needs out."""

from modules.heads.linear import Linear
from modules.heads.pixels import Pixels
from modules.heads.projection import MLP, Projection
from modules.heads.prototypes import Prototypes

__all__ = ["MLP", "Linear", "Pixels", "Projection", "Prototypes"]
