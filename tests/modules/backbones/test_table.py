"""Every network of the table builds by its name, is as large as the table says, and gives the maps that it promises."""

import csv
import json
import re
from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torchvision.models import get_model

from modules.backbones import FAMILIES, Timm, by_name
from modules.contracts import Backbone

ROWS = list(csv.DictReader(Path(__file__).with_name("architectures.csv").open()))
OURS = {  # networks that no library has, by the name that the table gives it
    "LeNet-5 (10 classes)": "lenet5",
    "AlexNet (paper, groups=2, 1000 classes)": "alexnet_towers",
    "AlexNet half tower (pool stride 2)": "alexnet_half",
    "AlexNet half tower (pool stride 3)": "alexnet_half_pool3",
    "VGG-16 config C": "vgg16_c",
    "GoogLeNet (paper layout, 5x5, no BN, without aux)": "inception_v1",
    "Inception v2 (BN-Inception)": "bn_inception",
    "Inception-ResNet v1": "inception_resnet_v1",
    **{f"ResNet-{depth} v1 (stride in 1x1)": f"resnet{depth}_v1" for depth in (50, 101, 152)},
    **{
        f"WRN-{depth}-{width} (pre-act, CIFAR-10)": f"wide_resnet{depth}_{width}"
        for depth, width in ((28, 10), (40, 4), (16, 8), (22, 8), (16, 4))
    },
    "DenseNet-264 (k=32)": "densenet264",
    "MobileNetV1 alpha=0.75": "mobilenetv1_075",
    "MobileNetV1 alpha=0.5": "mobilenetv1_050",
    "MobileNetV1 alpha=0.25": "mobilenetv1_025",
    **{f"ShuffleNetV1 1x g={groups}": f"shufflenetv1_g{groups}" for groups in (1, 2, 3, 4, 8)},
    "ShuffleNetV1 0.5x g=3": "shufflenetv1_g3_050",
    "ShuffleNetV1 1.5x g=3": "shufflenetv1_g3_150",
    "ShuffleNetV1 2x g=3": "shufflenetv1_g3_200",
    "EffNet (CIFAR-10, 64-128-256)": "effnet",
    "HarDNet-39DS": "hardnet39ds",
    "HarDNet-68DS": "hardnet68ds",
    "HarDNet-68": "hardnet68",
    "HarDNet-85": "hardnet85",
}
UNPADDED = ("alexnet", "squeezenet", "inception", "legacy_xception")  # their maps lose up to four cells, lenet5's seven


def label(row: dict[str, str]) -> str:
    return f"{row['library']}/{row['library_model']}" if row["library"] != "none" else row["name"]


def build(row: dict[str, str]) -> tuple[Backbone, nn.Module]:
    """The backbone, and the network with a classifier of the published classes."""
    if row["library"] == "none":
        return by_name(OURS[row["name"]]), timm.create_model(OURS[row["name"]])
    name, _, options = row["library_model"].partition(" ")
    if row["library"] == "torchvision":
        return by_name(f"torchvision/{name}"), get_model(name)
    if attention := re.search(r"attn_layer='(\w+)'", options):
        options = {"block_args": {"attn_layer": attention[1]}}
        return Timm(name, attention=attention[1]), timm.create_model(name, num_classes=1000, **options)
    return by_name(name), timm.create_model(name, num_classes=1000)


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_the_table_is_whole():
    assert len(ROWS) == 199
    assert OURS.keys() == {row["name"] for row in ROWS if row["library"] == "none"}


@pytest.mark.filterwarnings("ignore:The default weight initialization")
@pytest.mark.parametrize("row", ROWS, ids=label)
def test_a_network_of_the_table_is_as_promised(row):
    with torch.device("meta"):
        backbone, whole = build(row)
        assert parameters(whole) / 1e6 == pytest.approx(float(row["params_M"]), abs=6e-4)
        assert whole.state_dict().keys() >= backbone.net.state_dict().keys()
        name = backbone.name.removeprefix("torchvision/")
        channels, strides = json.loads(row["channels"] or "[]"), json.loads(row["reductions"] or "[]")
        if strides:
            wanted = {stride: wide for wide, stride in zip(channels, strides, strict=True)}  # a ViT's maps share one
            assert dict(zip(backbone.features.strides, backbone.features.channels, strict=True)) == wanted

        backbone.eval()
        lost = 4 if name.startswith(UNPADDED) else 7 if name == "lenet5" else 0
        height, width = 224, 192
        clip = (16,) if name in FAMILIES else ()
        with torch.no_grad():
            maps = backbone(torch.empty(2, 3, *clip, height, width))
        for cells, wide, stride in zip(maps, *backbone.features, strict=True):
            assert cells.shape[:2] == (2, wide)
            for side, cell in zip((height, width), cells.shape[-2:], strict=True):
                assert -(-side // stride) - lost <= cell <= -(-side // stride)
