"""Sizes below 1 (widths, channels, numbers of layers) of all parts of a network."""

import pytest

from modules.contracts import ConfigError, Features
from modules.gan.contracts import ImageSpec
from modules.gan.dcgan import DCGANDiscriminator, DCGANGenerator
from modules.gan.resnet import ResNetDiscriminator, ResNetGenerator
from modules.heads.classification import FullyConnected
from modules.heads.dense import FCN, LRASPP, DeepLabV3, DeepLabV3Plus, Pixels, PSPNet, SemanticFPN
from modules.heads.detection import RCNN, SSD, FastRCNN, SingleObject
from modules.heads.embedding import Projection, Prototypes
from modules.necks import FPN
from modules.text.recurrent import RecurrentDecoder, RecurrentEncoder
from modules.text.transformer import TransformerDecoder, TransformerEncoder

MAPS, IMAGE = Features([16] * 4, [4, 8, 16, 32]), ImageSpec(3, 32)
PARTS = {  # part -> what it is built from, and settings that are sizes
    DeepLabV3: ((MAPS, 4), "channels"),
    DeepLabV3Plus: ((MAPS, 4), "channels low_channels low_stride"),
    FCN: ((MAPS, 4), "finest"),
    FullyConnected: ((MAPS, 4), "cells"),
    LRASPP: ((MAPS, 4), "channels low_stride"),
    PSPNet: ((MAPS, 4), "channels"),
    Pixels: ((MAPS,), "outputs"),
    SemanticFPN: ((MAPS, 4), "channels"),
    FastRCNN: ((MAPS, 4), "hidden samples"),
    RCNN: ((MAPS, 4), "size at_once samples"),
    SSD: ((MAPS, 4), "levels finest"),
    SingleObject: ((MAPS, 4), "hidden"),
    Projection: ((MAPS,), "outputs layers"),
    Prototypes: ((MAPS, 8), "hidden bottleneck layers"),
    FPN: ((MAPS,), "channels levels"),
    RecurrentEncoder: ((20,), "width layers"),
    RecurrentDecoder: ((20, 16), "width layers"),
    TransformerEncoder: ((20,), "width layers heads feedforward max_positions"),
    TransformerDecoder: ((20, 16), "width layers heads feedforward max_positions"),
    DCGANGenerator: ((IMAGE, 8), "width"),
    DCGANDiscriminator: ((IMAGE,), "width"),
    ResNetGenerator: ((IMAGE, 8), "width"),
    ResNetDiscriminator: ((IMAGE,), "width"),
}


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize(("part", "name"), [(part, name) for part in PARTS for name in PARTS[part][1].split()])
def test_a_size_below_one_is_refused_by_name(part, name, value):
    with pytest.raises(ConfigError, match=rf"\.{name} is {value}"):
        part(*PARTS[part][0], **{name: value})


def test_a_width_of_the_backbone_is_no_negative_number():
    with pytest.raises(ConfigError, match="hidden"):
        Projection(MAPS, hidden=-1)
