"""Normalization by statistics of the training images: formula, network, checkpoint, refusal."""

from types import SimpleNamespace

import pytest
import torch

from datamodules import Shapes
from datamodules.images.statistics import KINDS, channel_statistics, fixed_statistics
from modules.backbones import UNetEncoder
from modules.contracts import ConfigError, DataError
from modules.contracts.data_info import DataInfo
from modules.contracts.pixels import with_channels
from modules.export.graph import Normalize
from modules.training.normalization import take_normalization
from tasks import BYOL, DINO, Classification, MoCo
from tests.helpers.errors import refuses
from tests.helpers.training import quiet


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize("channels", [3, 1])
def test_statistics_are_those_of_all_pixels(channels):
    image = torch.randint(0, 256, (7, 3, 5, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = channel_statistics([{"image": image[:4]}, {"image": image[4:]}], channels)
    pixels = with_channels(image, channels).double() / 255
    assert torch.allclose(found["mean"], pixels.mean((0, 2, 3)))
    assert torch.allclose(found["std"], pixels.std((0, 2, 3), correction=0))


@pytest.mark.parametrize("name", ["data", "mean_image", "imagenet", "none", None])
def test_the_network_sees_images_so_normalized_and_the_checkpoint_keeps_it(tmp_path, name):
    usual = {"train": 8, "val": 4, "test": 4, "image_size": 32, "batch_size": 4, "workers": 0}
    data = Shapes(**usual, normalization=name)
    task = Classification(data.classes, backbone="test_resnet")
    own = task.backbone.mean.clone(), task.backbone.std.clone()
    trainer = quiet(max_steps=1, limit_val_batches=0)
    trainer.fit(task, datamodule=data)
    images = torch.cat([batch["image"] for batch in data.plain_dataloader("train")])
    seen = task.backbone.normalize(images)
    if name == "data":
        assert torch.allclose(seen.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
        assert torch.allclose(seen.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-4)
    if name == "mean_image":
        assert torch.allclose(seen.mean(0), torch.zeros(3, 32, 32), atol=1e-5)
        assert torch.allclose(task.backbone.restore(seen), images / 255, atol=1e-6)
        assert torch.allclose(task.backbone.mean, (images / 255).mean((0, 2, 3)))
    expected = fixed_statistics(name, 3).values() if name in ("imagenet", "none") else own
    if name not in ("data", "mean_image"):
        assert torch.allclose(
            torch.stack((task.backbone.mean, task.backbone.std)), torch.stack(tuple(expected)).float()
        )
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    again = Classification.load_from_checkpoint(tmp_path / "run.ckpt")
    assert torch.equal(again.backbone.normalize(images), seen)
    torch.testing.assert_close(Normalize(again.backbone)(images.float()), seen)  # in exported files
    if name in KINDS:  # a resumed run does not count again, here in other images
        resumed, others = Classification(data.classes, backbone="test_resnet"), Shapes(**usual, color_correlation=1.0)
        quiet(max_steps=2, limit_val_batches=0).fit(resumed, datamodule=others, ckpt_path=tmp_path / "run.ckpt")
        assert torch.equal(resumed.backbone.normalize(images), seen)


@pytest.mark.parametrize("kind", ["data", "mean_image"])
def test_every_process_has_the_statistics_of_all_images(tmp_path, monkeypatch, kind):
    found = []
    for rank in (None, 0, 1):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / str(rank)))
        data = Shapes(train=9, val=4, test=4, image_size=16, batch_size=2, workers=0, normalization=kind)
        data.setup("fit")
        if rank is not None:
            data.trainer = SimpleNamespace(global_rank=rank, world_size=2)
        found.append(data.statistics(3))
    assert all(torch.equal(one[key], found[0][key]) for one in found for key in found[0])


def test_a_mean_image_is_of_one_size():
    backbone = UNetEncoder(channels=(4,))
    backbone.set_normalization(torch.zeros(3), torch.ones(3), torch.zeros(3, 32, 32))
    with refuses(ConfigError, "32 x 32", "16 x 16", "--data.image_size 32"):
        backbone.normalize(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    with refuses(ConfigError, "data.normalization mean_image", "--data.local_views 0"):
        Shapes(views=2, local_views=1, normalization="mean_image")


@pytest.mark.parametrize("method", [MoCo, BYOL, DINO])
@pytest.mark.parametrize("kind", ["data", "mean_image"])
def test_the_momentum_encoder_has_the_statistics_of_its_student(method, kind):
    image = torch.randint(0, 256, (7, 3, 32, 32), dtype=torch.uint8)
    found = KINDS[kind][1]([{"image": image}], 3)
    task = method(backbone="test_resnet")
    task.on_data(DataInfo(normalization=lambda channels: found), "fit")
    assert torch.allclose(task.backbone.mean, found["mean"].float())
    assert torch.equal(task.teacher.backbone.normalize(image), task.backbone.normalize(image))
    task.teacher.reset()  # as after weights were loaded
    assert (task.teacher.backbone.mean_image is None) == (kind == "data")


def test_tasks_without_a_backbone_refuse_it():
    with refuses(ConfigError, "data.normalization"):
        take_normalization(DataInfo(normalization=lambda channels: fixed_statistics("none", channels)), [None])
    take_normalization(DataInfo(), [None])


def test_a_channel_of_one_value_is_refused():
    with refuses(DataError, "data.normalization"):
        channel_statistics([{"image": torch.full((2, 3, 4, 4), 9, dtype=torch.uint8)}], 3)
