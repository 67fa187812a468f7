"""Style transfer: by optimizing an image, or by a feed-forward network for one or more styles."""

from modules.style.color import Color, keep_color
from modules.style.features import StyleFeatures, StyleWeights
from modules.style.optimize import Solver, stylize
from modules.style.transformer import StyleNorm, TransformerNet

__all__ = [
    "Color",
    "Solver",
    "StyleFeatures",
    "StyleNorm",
    "StyleWeights",
    "TransformerNet",
    "keep_color",
    "stylize",
]
