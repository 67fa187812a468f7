"""Normalization by statistics of the training images: formula, network, checkpoint, refusal."""

import pytest
import torch

from datamodules import Shapes
from datamodules.images.statistics import channel_statistics, fixed_statistics
from modules.contracts import ConfigError, DataError
from modules.contracts.data_info import DataInfo
from modules.contracts.pixels import with_channels
from modules.training.normalization import take_normalization
from tasks import Classification
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


@pytest.mark.parametrize("name", ["data", "imagenet", "none", None])
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
    expected = fixed_statistics(name, 3).values() if name in ("imagenet", "none") else own
    if name != "data":
        assert torch.allclose(
            torch.stack((task.backbone.mean, task.backbone.std)), torch.stack(tuple(expected)).float()
        )
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    again = Classification.load_from_checkpoint(tmp_path / "run.ckpt")
    assert torch.equal(again.backbone.normalize(images), seen)


def test_tasks_without_a_backbone_refuse_it():
    with refuses(ConfigError, "data.normalization"):
        take_normalization(DataInfo(normalization=lambda channels: fixed_statistics("none", channels)), [None])
    take_normalization(DataInfo(), [None])


def test_a_channel_of_one_value_is_refused():
    with refuses(DataError, "data.normalization"):
        channel_statistics([{"image": torch.full((2, 3, 4, 4), 9, dtype=torch.uint8)}], 3)
