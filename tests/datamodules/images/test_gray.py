"""Images of one channel, `channels` 1: brightness, the augmentation of color images, and networks built for it."""

from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from jsonargparse import Namespace
from PIL import Image
from torch import Tensor

from commands.linking import link
from datamodules import ImageFolder
from modules.backbones import by_name
from modules.contracts import ConfigError, with_channels
from tests.helpers.errors import refuses

FLAT = {"cat": 8, "dog": 8}
SIMCLR = {"views": 2, "crop": (0.2, 1.0), "augment": "simclr", "local_views": 1, "local_size": 8}


def folder(root: Path, **options) -> ImageFolder:
    data = ImageFolder(str(root), **({"image_size": 16, "batch_size": 8, "workers": 0, "channels": 1} | options))
    data.setup("fit")
    return data


def views(data: ImageFolder) -> list[Tensor]:
    batch = next(iter(data.train_dataloader()))
    batch = data.transfer_batch_to_device(batch, torch.device("cpu"), 0)
    return batch.get("views") or [batch["image"]]


@pytest.mark.parametrize("where", ["cpu", "device"])
def test_images_of_color_become_brightness(image_folder, where):
    root = image_folder(FLAT, size=(16, 16))
    (gray,), (color,) = (views(folder(root, channels=count, augment_device=where)) for count in (1, 3))
    assert (gray.shape, gray.dtype) == ((8, 1, 16, 16), torch.uint8)
    assert (gray.float() - with_channels(color, 1)).abs().max() <= 1


@pytest.mark.parametrize("cache_on_device", [None, False, True])
def test_gray_files_are_augmented_as_those_of_color_and_stay_gray(tmp_path, image_folder, cache_on_device):
    root = image_folder(FLAT)
    for path in root.rglob("*.png"):
        Image.open(path).convert("L").save(path)
    where = {} if cache_on_device is None else {"augment_device": "device", "cache_on_device": cache_on_device}
    gray, color = (views(folder(root, channels=count, **SIMCLR, **where)) for count in (1, 3))
    assert [tuple(view.shape[1:]) for view in gray] == [(1, 16, 16), (1, 16, 16), (1, 8, 8)]
    for one, three in zip(gray, color, strict=True):
        assert torch.equal(with_channels(one, 3), three)


def test_deep_and_transparent_files_keep_their_brightness(tmp_path):
    for name, image in {
        "deep": Image.fromarray(np.full((16, 16), 257 * 100, np.uint16)),
        "clear": Image.new("RGBA", (16, 16), (50, 50, 50, 9)),
    }.items():
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / "0.png")
    data = folder(tmp_path, val_split=0.0, batch_size=2, value_range=(0, 65535))
    (batch,) = data.plain_dataloader("train")
    assert batch["image"].flatten(1).unique(dim=1).flatten().tolist() == [50, 100]


def test_images_of_color_that_are_served_become_gray(image_folder):
    data = folder(image_folder(FLAT))
    batch = data.collate([data.sample(np.full((20, 24, 3), (200, 100, 50), np.uint8))])
    assert batch["image"].shape == (1, 1, 16, 16)
    assert batch["image"].unique().tolist() == [124]  # 0.299 of 200, 0.587 of 100 and 0.114 of 50


def test_transforms_that_tint_count_by_the_brightness_they_leave(image_folder):
    shift = A.RGBShift((30, 30), (30, 30), (30, 30), p=1)
    root = image_folder(FLAT, size=(16, 16))
    (plain,), (shifted,) = (views(folder(root, augment=augment)) for augment in ("none", [shift]))
    assert torch.equal(shifted.int(), (plain.int() + 30).clamp(max=255))


def linked(backbone: str | Namespace, known: dict | None = None, channels: int = 1) -> Namespace:
    """Settings of a model with that backbone, linked to data of one channel."""
    model = Namespace(backbone=backbone, in_channels=None, channels=3)
    settings = Namespace(model=Namespace(init_args=model), data=Namespace(init_args=Namespace(channels=channels)))
    link(settings, ImageFolder, known or {}, None)
    return model


def test_networks_are_built_for_one_channel_where_they_can_be():
    assert (linked("lenet5").in_channels, linked("lenet5").channels) == (1, 1)
    assert linked("torchvision/resnet18").in_channels is None
    own = Namespace(class_path="modules.backbones.Timm", init_args=Namespace(name="resnet18", in_channels=3))
    assert linked(own).backbone.init_args.in_channels == 1
    assert linked("lenet5", channels=3).in_channels is None


def test_networks_of_checkpoints_stay_as_they_were_built():
    for built in (None, 1):
        assert linked("lenet5", {"in_channels": built}).in_channels == built
    settings = {"name": "resnet18", "in_channels": 3}
    own = Namespace(class_path="modules.backbones.Timm", init_args=Namespace(**settings))
    assert linked(own, {"backbone": {"init_args": settings}, "channels": 3}).backbone.init_args.in_channels == 3


def test_a_backbone_by_its_name_takes_channels_or_refuses_them():
    assert (by_name("test_resnet", in_channels=1).in_channels, by_name("pixels", in_channels=1).in_channels) == (1, 1)
    for name in ("torchvision/resnet18", "c3d"):
        with refuses(ConfigError, name, "in_channels", 1):
            by_name(name, in_channels=1)
