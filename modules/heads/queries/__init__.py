"""Heads of mask queries: a fixed number of questions to an image, each answered by a class and a mask."""

from modules.heads.queries.base import MaskQueryHead, Queries, See, Target

__all__ = ["MaskQueryHead", "Queries", "See", "Target"]
