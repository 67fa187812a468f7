"""Judging features: what a checkpoint has learned, in numbers and pictures."""

from evaluation.trainer import Trainer

__all__ = ["Trainer"]
