"""The built-in world: scenes of shapes, drawn when asked for, nothing to download."""

from datamodules.shapes.shapes import Shapes

__all__ = ["Shapes"]
