"""Dense heads: maps to an output for every place, for segmentation and reconstruction."""

from modules.heads.dense.deeplab import DeepLabV3, DeepLabV3Plus
from modules.heads.dense.fcn import FCN
from modules.heads.dense.lraspp import LRASPP
from modules.heads.dense.pixels import Pixels
from modules.heads.dense.pspnet import PSPNet
from modules.heads.dense.semantic_fpn import SemanticFPN
from modules.heads.dense.unet import UNet

__all__ = ["FCN", "LRASPP", "DeepLabV3", "DeepLabV3Plus", "PSPNet", "Pixels", "SemanticFPN", "UNet"]
