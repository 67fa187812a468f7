"""LightningModules and YAML files, one per task: losses, metrics and predictions."""

from tasks.autoencoder import AutoEncoder
from tasks.barlow_twins import BarlowTwins
from tasks.base import Task
from tasks.byol import BYOL
from tasks.captioning import Captioning
from tasks.classification import Classification
from tasks.colorization import Colorization
from tasks.detection import Detection
from tasks.dino import DINO
from tasks.distillation import Distillation
from tasks.fast_style import FastStyle
from tasks.gan import GAN, WGAN
from tasks.ijepa import IJEPA
from tasks.instance_segmentation import InstanceSegmentation
from tasks.jigsaw import Jigsaw
from tasks.keypoints import Keypoints
from tasks.lejepa import LeJEPA
from tasks.mae import MAE
from tasks.masked_patches import MaskedPatches
from tasks.moco import MoCo
from tasks.moco_v3 import MoCoV3
from tasks.multilabel_classification import MultilabelClassification
from tasks.nnclr import NNCLR
from tasks.panoptic_segmentation import PanopticSegmentation
from tasks.rotation import Rotation
from tasks.semantic_segmentation import SemanticSegmentation
from tasks.simclr import SimCLR
from tasks.simsiam import SimSiam
from tasks.supcon import SupCon
from tasks.swav import SwAV
from tasks.translation import Translation
from tasks.vicreg import VICReg
from tasks.video import Video
from tasks.video_simclr import VideoSimCLR
from tasks.videomae import VideoMAE
from tasks.vision import VisionTask

__all__ = [
    "BYOL",
    "DINO",
    "GAN",
    "IJEPA",
    "MAE",
    "NNCLR",
    "WGAN",
    "AutoEncoder",
    "BarlowTwins",
    "Captioning",
    "Classification",
    "Colorization",
    "Detection",
    "Distillation",
    "FastStyle",
    "InstanceSegmentation",
    "Jigsaw",
    "Keypoints",
    "LeJEPA",
    "MaskedPatches",
    "MoCo",
    "MoCoV3",
    "MultilabelClassification",
    "PanopticSegmentation",
    "Rotation",
    "SemanticSegmentation",
    "SimCLR",
    "SimSiam",
    "SupCon",
    "SwAV",
    "Task",
    "Translation",
    "VICReg",
    "Video",
    "VideoMAE",
    "VideoSimCLR",
    "VisionTask",
]
