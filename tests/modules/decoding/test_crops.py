"""Multi-crop, ten-crop and dense test of classifiers."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms.functional import five_crop, ten_crop

from modules.backbones import by_name
from modules.contracts import Backbone, ConfigError, Features
from modules.decoding.crops import CropTest, CropTTA, five_crops, mean_probabilities
from modules.heads import FullyConnected, Linear, through
from modules.heads.base import ClassificationHead
from tests.helpers.errors import refuses

SIDE, STRIDE = 23, 4


class Unpadded(Backbone):
    """Two strided convolutions without padding, so that a cell of the map sees nothing beyond its crop."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 5, 2), nn.ReLU(), nn.Conv2d(4, 6, 3, 2), nn.ReLU())
        self.features = Features([6], [STRIDE])
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))

    def forward(self, image: Tensor) -> list[Tensor]:
        return [self.net(image)]


def image(side: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


def views(backbone: Backbone, head: ClassificationHead, x: Tensor, size: int | None = SIDE, **tta) -> list[Tensor]:
    test = CropTest(CropTTA(**tta))
    test.set_trained_size(size)
    with torch.no_grad():
        return list(test.logits(lambda part: through(backbone, head, part), backbone, head, x))


def test_five_and_ten_crops_are_those_of_torchvision():
    x = image(SIDE + 7)
    found = five_crops(x, SIDE)
    assert len(found) == 5 and all(torch.equal(a, b) for a, b in zip(found, five_crop(x, [SIDE, SIDE]), strict=True))
    seen: list[Tensor] = []
    x = image(SIDE + 8)  # torchvision rounds the center of a mirror image to the other side
    test = CropTest(CropTTA("ten", SIDE))
    list(test.logits(lambda part: seen.append(part) or part, None, None, x))
    assert len(seen) == 10
    assert all(any(torch.equal(crop, part) for part in seen) for crop in ten_crop(x, [SIDE, SIDE]))


def test_probabilities_are_averaged_and_not_logits():
    head = Linear(Features([6], [4]), 2)
    logits = torch.tensor([[4.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    found = mean_probabilities([(head, list(logits))])
    torch.testing.assert_close(found[0, 0], (torch.sigmoid(torch.tensor([4.0, -1.0]))).mean())


@pytest.mark.parametrize("head", [Linear, lambda f, c: FullyConnected(f, c, hidden=(5,), cells=2)], ids=["gap", "fc"])
def test_without_padding_a_dense_test_is_that_of_the_crops_at_every_stride(head):
    backbone = Unpadded()
    made, x = head(backbone.features, 3).eval(), image(SIDE + 2 * STRIDE)
    found = views(backbone, made, x, crops="dense")
    crops = [x[..., top : top + SIDE, left : left + SIDE] for top in (0, STRIDE, 8) for left in (0, STRIDE, 8)]
    assert len(found) == 9
    for dense, crop in zip(found, crops, strict=True):
        torch.testing.assert_close(dense, through(backbone, made, crop), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet", "mobilenetv3_small_050"])
def test_a_dense_test_of_an_image_of_training_size_is_the_network(name):
    backbone = by_name(name).eval()
    head, x = Linear(backbone.features, 3), image(64)
    (found,) = views(backbone, head, x, 64, crops="dense")
    with torch.no_grad():
        assert torch.equal(found, through(backbone, head, x))
    assert len(views(backbone, head, image(128), 64, crops="dense")) == (128 // 32 - 1) ** 2


def test_mirror_images_double_the_views():
    backbone = Unpadded()
    head, x = Linear(backbone.features, 3), image(SIDE)
    plain, mirrored = views(backbone, head, x, flip=True)
    with torch.no_grad():
        assert torch.equal(plain, through(backbone, head, x))
        assert torch.equal(mirrored, through(backbone, head, x.flip(-1)))


def test_crops_need_larger_images_a_size_and_a_convolutional_network():
    backbone = Unpadded()
    head, vit = Linear(backbone.features, 3), by_name("test_vit").eval()
    with refuses(ConfigError, "model.tta.crops ten", SIDE, "--data.image_size"):
        views(backbone, head, image(SIDE), crops="ten")
    with refuses(ConfigError, "model.tta.crops dense", SIDE, "--data.image_size"):
        views(backbone, head, image(SIDE - 1), crops="dense")
    with refuses(ConfigError, "model.tta.crop_size"):
        views(backbone, head, image(SIDE), None, crops="five")
    with refuses(ConfigError, "model.tta.crops dense", "test_vit", "five"):
        views(vit, Linear(vit.features, 3), image(64), 32, crops="dense")
    with refuses(ConfigError, "model.tta.crop_size", "model.tta.crops"):
        CropTTA(crop_size=32)
