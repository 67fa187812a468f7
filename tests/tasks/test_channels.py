"""Images of one channel, networks for one channel, and float images: used correctly or refused."""

import pytest
import torch
from torch import Tensor

from modules.backbones import Timm, UNetEncoder
from modules.contracts import Backbone, ConfigError, DataError, pixel_scale, with_channels
from tests.helpers.errors import refuses

COLORS = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).view(2, 3, 8, 8)


def encoder(channels: int) -> Backbone:
    backbone = UNetEncoder(in_channels=channels, channels=(4, 8))
    backbone.mean.copy_(torch.linspace(0.4, 0.5, channels))
    return backbone


@pytest.mark.parametrize("channels", [1, 3])
def test_floats_of_0_to_1_mean_the_same_as_bytes(channels):
    image = COLORS[:, :channels]
    backbone = encoder(channels)
    torch.testing.assert_close(backbone.normalize(image.float() / 255), backbone.normalize(image))
    torch.testing.assert_close(backbone.restore(backbone.normalize(image)), image / 255)


def test_the_batch_itself_stays_as_it_is():
    image = COLORS.float() / 255
    before = image.clone()
    encoder(3).normalize(image)
    assert torch.equal(image, before)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (COLORS.float(), (0, 255)),
        (COLORS.float() / 255 - 0.5, (-0.5, 0.5)),
        (COLORS.long(), ("torch.int64",)),
        (COLORS > 3, ("torch.bool",)),
        (torch.full((1, 3, 2, 2), float("nan")), ("nan",)),
    ],
    ids=["0..255", "normalized", "int64", "bool", "nan"],
)
def test_other_values_are_refused(image, found):
    with refuses(DataError, "uint8", "0..255", "0..1", *found):
        encoder(3).normalize(image)


def test_color_becomes_brightness_for_one_channel():
    gray = with_channels(COLORS, 1)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    assert torch.equal(gray, (COLORS * weights).sum(1, keepdim=True).round())
    same = COLORS[:, :1].expand(-1, 3, -1, -1)
    assert torch.equal(with_channels(same, 1), COLORS[:, :1].float())  # gray stays exactly what it was
    assert encoder(1).normalize(COLORS).shape == (2, 1, 8, 8)


def test_one_channel_is_repeated_for_color():
    expected = encoder(3).normalize(COLORS[:, :1].expand(-1, 3, -1, -1))
    assert torch.equal(encoder(3).normalize(COLORS[:, :1]), expected)


@pytest.mark.parametrize(("found", "wanted"), [(4, 3), (2, 3), (3, 5), (13, 1)])
def test_other_channels_are_refused(found, wanted):
    with refuses(ConfigError, found, wanted, f"--model.backbone.in_channels {found}", "--data"):
        with_channels(torch.zeros(1, found, 4, 4, dtype=torch.uint8), wanted)


def test_clips_follow_the_same_rules():
    clip = torch.full((1, 1, 2, 4, 4), 255, dtype=torch.uint8)
    assert with_channels(clip, 3).shape == (1, 3, 2, 4, 4)
    assert pixel_scale(clip) == 255


def test_a_network_of_one_channel_has_one_mean():
    backbone = Timm("test_resnet", in_channels=1)
    assert backbone.normalize(COLORS.repeat(1, 1, 8, 8)).shape[1] == len(backbone.mean) == 1


class Gray(torch.utils.data.Dataset):
    """User data of float32 images (1, 32, 32) in 0..1."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Tensor | int | str]:
        image = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(index))
        return {"image": image, "label": index % 2, "id": str(index)}


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_floats_of_an_own_data_set_train_a_classifier(channels, tmp_path):
    import lightning as L

    from datamodules import DataModule
    from tasks import Classification

    class Own(DataModule):
        def dataset(self, split: str, purpose: str) -> Gray:
            return Gray()

        def collate(self, samples: list) -> dict:
            return torch.utils.data.default_collate(samples)

    class Keyed(Gray):
        def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor | int | str]:
            return super().__getitem__(key[1])

    data = Own(batch_size=4, workers=0)
    data.dataset = lambda split, purpose: Keyed()
    task = Classification(backbone=Timm("test_resnet", in_channels=channels), classes=["a", "b"])
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(task, data)
    assert torch.isfinite(trainer.callback_metrics["val/loss"])
