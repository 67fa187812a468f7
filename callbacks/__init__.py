"""What is watched, drawn or written beside the training; no callback knows a task by its class."""

from callbacks.checkpoint import AVERAGED, Checkpoint, Stopped
from callbacks.collapse import Collapse
from callbacks.counts import Counts
from callbacks.figures import Figures
from callbacks.finite import Finite
from callbacks.generated.health import GameHealth
from callbacks.generated.images import GeneratedImages
from callbacks.generated.scores import GeneratedScores
from callbacks.knn import KNN
from callbacks.predictions import Predictions
from callbacks.random_state import RandomState
from callbacks.throughput import Throughput

__all__ = [
    "AVERAGED",
    "KNN",
    "Checkpoint",
    "Collapse",
    "Counts",
    "Figures",
    "Finite",
    "GameHealth",
    "GeneratedImages",
    "GeneratedScores",
    "Predictions",
    "RandomState",
    "Stopped",
    "Throughput",
]
