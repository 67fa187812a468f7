"""Mixing of training images, inputs or hidden features, with their labels."""

from modules.training.mixing.mixer import Mixer
from modules.training.mixing.settings import Mixing

__all__ = ["Mixer", "Mixing"]
