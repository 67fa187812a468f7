"""Kinds of prediction: a registry of how each is collected, drawn, written and summarized, open to other packages."""

from callbacks.kinds import builtin as builtin
from callbacks.kinds.registry import register

__all__ = ["register"]
