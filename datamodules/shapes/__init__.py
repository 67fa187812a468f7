"""The built-in world: scenes of shapes, drawn when asked for, nothing to download."""

from datamodules.shapes.shapes import Shapes
from datamodules.shapes.shapes_captions import ShapesCaptions
from datamodules.shapes.shapes_in_motion import ShapesInMotion
from datamodules.shapes.shapes_masks import ShapesMasks
from datamodules.shapes.shapes_objects import ShapesObjects
from datamodules.shapes.shapes_sentences import ShapesSentences

__all__ = ["Shapes", "ShapesCaptions", "ShapesInMotion", "ShapesMasks", "ShapesObjects", "ShapesSentences"]
