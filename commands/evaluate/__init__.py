"""Evaluation of learned representations: metrics and figures of the features of a checkpoint."""

from commands.evaluate.trainer import Trainer, idle_trainer

__all__ = ["Trainer", "idle_trainer"]
