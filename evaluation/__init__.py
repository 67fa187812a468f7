"""Judging features: what a checkpoint has learned, in numbers and images."""

from evaluation.trainer import Trainer

__all__ = ["Trainer"]
