"""Heads: feature pyramid in, the output of a task out; a folder for each kind, with a base class in `base`."""

from modules.heads.base import (
    ClassificationHead,
    DenseHead,
    EmbeddingHead,
    Head,
    HeadFactory,
    PrototypeHead,
    through,
)
from modules.heads.classification import FullyConnected, Lifted, Linear, published
from modules.heads.dense import FCN, LRASPP, DeepLabV3, DeepLabV3Plus, Pixels, PSPNet, SemanticFPN, UNet
from modules.heads.detection import (
    FCOS,
    RCNN,
    SSD,
    DetectionHead,
    FasterRCNN,
    FastRCNN,
    InstanceHead,
    MaskRCNN,
    RetinaNet,
    SingleObject,
)
from modules.heads.embedding import MLP, Projection, Prototypes
from modules.heads.queries import EoMT, MaskQueryHead, QueryMasks

__all__ = [
    "FCN",
    "FCOS",
    "LRASPP",
    "MLP",
    "RCNN",
    "SSD",
    "ClassificationHead",
    "DeepLabV3",
    "DeepLabV3Plus",
    "DenseHead",
    "DetectionHead",
    "EmbeddingHead",
    "EoMT",
    "FastRCNN",
    "FasterRCNN",
    "FullyConnected",
    "Head",
    "HeadFactory",
    "InstanceHead",
    "Lifted",
    "Linear",
    "MaskQueryHead",
    "MaskRCNN",
    "PSPNet",
    "Pixels",
    "Projection",
    "PrototypeHead",
    "Prototypes",
    "QueryMasks",
    "RetinaNet",
    "SemanticFPN",
    "SingleObject",
    "UNet",
    "published",
    "through",
]
