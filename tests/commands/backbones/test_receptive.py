"""Receptive fields against those of the literature.

Araujo, Norris and Sim 2019, "Computing receptive fields of convolutional neural networks".
"""

import pytest

from commands.backbones.receptive import receptive_fields
from modules.backbones import Timm, by_name


@pytest.mark.parametrize(
    ("name", "last"),
    [("alexnet", 195), ("mobilenetv1_100", 315), ("resnet18", 435), ("vgg11", 150)],
)
def test_the_coarsest_map_sees_what_the_literature_says(name, last):
    fields = receptive_fields(by_name(name), 64)
    assert fields[-1] == last
    assert fields == sorted(fields)


def test_every_level_of_a_resnet_by_arithmetic():
    """7x7 stride 2 and max-pool 3x3 stride 2, then two blocks of two 3x3 a stage."""
    assert receptive_fields(by_name("torchvision/resnet18"), 32) == [7, 43, 99, 211, 435]


def test_attention_and_squeeze_and_excitation_see_everything():
    assert receptive_fields(Timm("test_vit"), 32) == [None]
    assert receptive_fields(Timm("resnet18", attention="se"), 32)[1:] == [None] * 4
