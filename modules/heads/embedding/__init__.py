"""Embedding heads of self-supervised pretraining: projections and prototypes."""

from modules.heads.embedding.projection import MLP, Projection
from modules.heads.embedding.prototypes import Prototypes

__all__ = ["MLP", "Projection", "Prototypes"]
