"""Heads of mask queries: a fixed number of questions to an image, each answered by a class and a mask."""

from modules.heads.queries.base import MaskQueryHead, Queries, See, Target
from modules.heads.queries.eomt import EoMT
from modules.heads.queries.instances import QueryInstances, instances
from modules.heads.queries.query_masks import QueryMasks
from modules.heads.queries.semantic import SemanticQueries, semantic

__all__ = [
    "EoMT",
    "MaskQueryHead",
    "Queries",
    "QueryInstances",
    "QueryMasks",
    "See",
    "SemanticQueries",
    "Target",
    "instances",
    "semantic",
]
