"""Sentences and their translations."""

from datamodules.text.parallel_text import Multi30k, ParallelText
from datamodules.text.sentences import Sentences

__all__ = ["Multi30k", "ParallelText", "Sentences"]
