"""Heads: feature pyramid in, the output of a task out."""

from modules.heads.classification import FullyConnected, Linear, Published
from modules.heads.dense import FCN, LRASPP, DeepLabV3, DeepLabV3Plus, Pixels, PSPNet, SemanticFPN, UNet
from modules.heads.embedding import MLP, Projection, Prototypes

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
