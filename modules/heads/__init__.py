"""Heads: feature pyramid in, what a task needs out."""

from modules.heads.linear import Linear
from modules.heads.projection import Projection

__all__ = ["Linear", "Projection"]
