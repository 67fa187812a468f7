"""The built-in world: scenes of shapes, drawn when asked for, nothing to download."""

from datamodules.synthetic.shapes import Shapes
from datamodules.synthetic.shapes_captions import ShapesCaptions
from datamodules.synthetic.shapes_keypoints import ShapesKeypoints
from datamodules.synthetic.shapes_masks import ShapesMasks
from datamodules.synthetic.shapes_objects import ShapesObjects
from datamodules.synthetic.shapes_panoptic import ShapesPanoptic
from datamodules.synthetic.shapes_sentences import ShapesSentences
from datamodules.synthetic.shapes_tags import ShapesTags
from datamodules.synthetic.shapes_video import ShapesVideo

__all__ = [
    "Shapes",
    "ShapesCaptions",
    "ShapesKeypoints",
    "ShapesMasks",
    "ShapesObjects",
    "ShapesPanoptic",
    "ShapesSentences",
    "ShapesTags",
    "ShapesVideo",
]
