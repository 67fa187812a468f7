"""Raw pixels as a backbone."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from modules.backbones import RawPixels, by_name
from modules.backbones.reach import survey
from modules.contracts import ConfigError
from tests.helpers.errors import refuses


def test_features_are_standardized_pixels_in_one_row():
    backbone = by_name("pixels")
    assert survey(backbone).pooled == set() and backbone.features.pooled == 3 * 32 * 32
    image = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    features = backbone.pool(backbone(backbone.normalize(image.contiguous(memory_format=torch.channels_last))))
    torch.testing.assert_close(features, (image.float() / 255 - 0.5).flatten(1) / 0.25)


def test_larger_images_are_averaged_down():
    backbone, image = RawPixels(size=8, in_channels=1), torch.randn(2, 1, 32, 16)
    torch.testing.assert_close(backbone.pool(backbone(image)), avg_pool2d(image, (4, 2)).flatten(1))


def test_what_pixels_do_not_have_is_refused():
    with refuses(ConfigError, "32", "16 x 40", "--data.image_size", "--model.backbone.size 16"):
        by_name("pixels")(torch.zeros(1, 3, 16, 40))
    with refuses(ConfigError, "pixels", "small_images"):
        by_name("pixels", small_images=True)
    with pytest.raises(ConfigError, match="size"):
        RawPixels(size=0)
