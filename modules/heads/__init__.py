"""Heads: feature pyramid in, the output of a task out."""

from modules.heads.deeplab import DeepLabV3, DeepLabV3Plus
from modules.heads.fcn import FCN
from modules.heads.fully_connected import FullyConnected
from modules.heads.linear import Linear
from modules.heads.lraspp import LRASPP
from modules.heads.pixels import Pixels
from modules.heads.projection import MLP, Projection
from modules.heads.prototypes import Prototypes
from modules.heads.pspnet import PSPNet
from modules.heads.published import Published
from modules.heads.semantic_fpn import SemanticFPN
from modules.heads.unet import UNet

__all__ = [
    "FCN",
    "LRASPP",
    "MLP",
    "DeepLabV3",
    "DeepLabV3Plus",
    "FullyConnected",
    "Linear",
    "PSPNet",
    "Pixels",
    "Projection",
    "Prototypes",
    "Published",
    "SemanticFPN",
    "UNet",
]
