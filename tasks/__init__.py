"""One LightningModule and one YAML per task: losses, metrics, predictions, and nothing else."""

from tasks.base import Task
from tasks.classification import Classification
from tasks.simclr import SimCLR

__all__ = ["Classification", "SimCLR", "Task"]
