"""Sentences and their translations."""

from datamodules.text.parallel_text import Multi30k, ParallelText
from datamodules.text.text_file import TextFile

__all__ = ["Multi30k", "ParallelText", "TextFile"]
