"""Lightning callbacks: checkpoints, monitors, probes, figures, prediction files; none depends on a task class."""

from callbacks.checkpoint import AVERAGED, Checkpoint, Stopped
from callbacks.collapse_monitor import CollapseMonitor
from callbacks.counts import Counts
from callbacks.explanations import Explanations
from callbacks.feature_monitor import FeatureMonitor
from callbacks.figures_callback import Figures
from callbacks.forgetting_monitor import ForgettingMonitor
from callbacks.generation.gan_monitor import GANMonitor
from callbacks.generation.generated_images import GeneratedImages
from callbacks.generation.generation_metrics import GenerationMetrics
from callbacks.intervals import Intervals
from callbacks.knn import KNN
from callbacks.learning_curves import LearningCurves
from callbacks.loggers.wandb_tracking import WandbTracking
from callbacks.online_probe import OnlineProbe
from callbacks.optimizer_monitor import OptimizerMonitor
from callbacks.predictions import Predictions
from callbacks.random_state import RandomState
from callbacks.range_test import LearningRateRangeTest
from callbacks.speed_monitor import SpeedMonitor
from callbacks.stop_early import StopEarly
from callbacks.terminate_on_nan import TerminateOnNaN

__all__ = [
    "AVERAGED",
    "KNN",
    "Checkpoint",
    "CollapseMonitor",
    "Counts",
    "Explanations",
    "FeatureMonitor",
    "Figures",
    "ForgettingMonitor",
    "GANMonitor",
    "GeneratedImages",
    "GenerationMetrics",
    "Intervals",
    "LearningCurves",
    "LearningRateRangeTest",
    "OnlineProbe",
    "OptimizerMonitor",
    "Predictions",
    "RandomState",
    "SpeedMonitor",
    "StopEarly",
    "Stopped",
    "TerminateOnNaN",
    "WandbTracking",
]
