"""Classification of center pixels: the same answers as the whole image at once, and the pixels that are drawn."""

import torch

from modules.backbones import FullResolution
from modules.contracts import ConfigError
from modules.contracts.data_info import DataInfo
from modules.contracts.preprocessing import Preprocessing
from modules.decoding.patches import at_every_pixel, at_random_pixels, patches
from modules.export import Preprocess
from tasks import SemanticSegmentation
from tests.helpers.errors import refuses

CLASSES, DEPTH = ["a", "b", "c"], 3
FIELD = 2 * DEPTH + 1


def network(**settings) -> SemanticSegmentation:
    torch.manual_seed(0)
    backbone = FullResolution(width=4, depth=DEPTH)
    return SemanticSegmentation(CLASSES, backbone=backbone, head=head, **settings)


def head(features, outputs):
    from modules.heads import UNet

    return UNet(features, outputs, kernel=1)


def test_patches_lie_around_their_pixels():
    image = torch.arange(30.0).view(1, 1, 5, 6)
    seen = patches(image, 3)
    assert seen.shape == (1, 5, 6, 1, 3, 3)
    assert torch.equal(seen[0, 2, 3, 0], image[0, 0, 1:4, 2:5])
    assert torch.equal(seen[0, 0, 0, 0], torch.tensor([[0.0, 0, 1], [0, 0, 1], [6, 6, 7]]))
    assert torch.equal(patches(image, 4)[..., 2, 2], image.permute(0, 2, 3, 1))


def test_a_network_over_the_whole_image_gives_the_answers_of_all_patches():
    image = torch.randn(2, 3, 12, 14)
    whole, slid = (network(patch_size=size).eval()(image) for size in (None, FIELD))
    inner = (..., slice(DEPTH, -DEPTH), slice(DEPTH, -DEPTH))  # what zeros beyond the border do not reach
    torch.testing.assert_close(slid[inner], whole[inner])
    assert not torch.allclose(slid[..., 0, 0], whole[..., 0, 0])


def test_training_sees_random_pixels_with_their_classes():
    task, image = network(patch_size=FIELD).eval(), torch.randn(2, 3, 6, 8)
    numbers = torch.arange(2 * 6 * 8).view(2, 6, 8)
    logits, drawn = at_random_pixels(task._network, image, numbers, FIELD, 20)
    assert (logits.shape, drawn.shape) == ((2, 3, 20, 1), (2, 20, 1))
    everywhere = at_every_pixel(task._network, image, FIELD).permute(0, 2, 3, 1).flatten(0, 2)
    torch.testing.assert_close(logits[..., 0].transpose(1, 2), everywhere[drawn[..., 0]])
    assert (drawn[0] < 48).all() and (drawn[1] >= 48).all() and len(drawn.unique()) > 10


def test_what_patches_cannot_do_is_refused():
    with refuses(ConfigError, "--model.patch_size", "model.aux_loss_weight"):
        network(patch_size=FIELD, aux_loss_weight=0.4)
    with refuses(ConfigError, "model.patch_size", "0"):
        network(patch_size=0)
    with refuses(ConfigError, "--model.patch_size", 16, 32):
        SemanticSegmentation(CLASSES, backbone="test_resnet", patch_size=16)
    with refuses(ConfigError, "model.patch_size"):
        network(patch_size=FIELD).graphs(Preprocess())
    with refuses(ConfigError, "model.patch_size", FIELD, FIELD - 1):
        data = DataInfo(preprocessing=Preprocessing("letterbox", (FIELD - 2, FIELD - 1)))
        network(patch_size=FIELD).on_data(data, "fit")
