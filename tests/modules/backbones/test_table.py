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
UNPADDED = ("alexnet", "squeezenet", "inception", "legacy_xception")  # their maps lose up to four cells


def label(row: dict[str, str]) -> str:
    return f"{row['library']}/{row['library_model']}"


def build(row: dict[str, str]) -> tuple[Backbone, nn.Module]:
    """The backbone, and the library's own network with a classifier of 1,000 classes."""
    name, _, options = row["library_model"].partition(" ")
    if row["library"] == "torchvision":
        return by_name(f"torchvision/{name}"), get_model(name)
    if attention := re.search(r"attn_layer='(\w+)'", options):
        options = {"block_args": {"attn_layer": attention[1]}}
        return Timm(name, attention=attention[1]), timm.create_model(name, num_classes=1000, **options)
    return by_name(name), timm.create_model(name, num_classes=1000)


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.filterwarnings("ignore:The default weight initialization")
@pytest.mark.parametrize("row", ROWS, ids=label)
def test_a_network_of_the_table_is_as_promised(row):
    name = row["library_model"].split()[0]
    with torch.device("meta"):
        backbone, whole = build(row)
        assert parameters(whole) / 1e6 == pytest.approx(float(row["params_M"]), abs=6e-4)
        assert whole.state_dict().keys() >= backbone.net.state_dict().keys()

        channels, strides = json.loads(row["channels"] or "[]"), json.loads(row["reductions"] or "[]")
        if strides:
            wanted = {stride: wide for wide, stride in zip(channels, strides, strict=True)}  # a ViT's maps share one
            assert dict(zip(backbone.features.strides, backbone.features.channels, strict=True)) == wanted

        backbone.eval()
        lost = 4 if name.startswith(UNPADDED) else 0
        for height, width in ((96, 128), (224, 160)):
            clip = (16,) if name in FAMILIES else ()
            with torch.no_grad():
                maps = backbone(torch.empty(2, 3, *clip, height, width))
            for cells, wide, stride in zip(maps, *backbone.features, strict=True):
                assert cells.shape[:2] == (2, wide)
                for side, cell in zip((height, width), cells.shape[-2:], strict=True):
                    assert -(-side // stride) - lost <= cell <= -(-side // stride)
