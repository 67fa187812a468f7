"""Interfaces between the parts: backbones, feature pyramids, batches, predictions and the two kinds of user error."""

from modules.contracts.backbone import Backbone, Features, Maps, Weights
from modules.contracts.batches import GREEDY, IGNORE, SURPLUS, Batch, Prediction
from modules.contracts.errors import ConfigError, DataError, check_range, check_sizes, naming, regular, suggest, writing
from modules.contracts.parts import Fusion, FusionFactory, Neck, NeckFactory
from modules.contracts.pixels import LUMA, pixel_scale, refuse_raw, with_channels
from modules.contracts.words import counted, from_here

__all__ = [
    "GREEDY",
    "IGNORE",
    "LUMA",
    "SURPLUS",
    "Backbone",
    "Batch",
    "ConfigError",
    "DataError",
    "Features",
    "Fusion",
    "FusionFactory",
    "Maps",
    "Neck",
    "NeckFactory",
    "Prediction",
    "Weights",
    "check_range",
    "check_sizes",
    "counted",
    "from_here",
    "naming",
    "pixel_scale",
    "refuse_raw",
    "regular",
    "suggest",
    "with_channels",
    "writing",
]
