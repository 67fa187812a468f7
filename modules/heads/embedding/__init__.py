"""Heads of self-supervised pretraining: embeddings and prototypes."""

from modules.heads.embedding.projection import MLP, Projection
from modules.heads.embedding.prototypes import Prototypes

__all__ = ["MLP", "Projection", "Prototypes"]
