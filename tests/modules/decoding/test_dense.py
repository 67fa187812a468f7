"""Padding, tiles, augmentation and the way back to the original image, against plain passes and closed forms."""

import math
from itertools import pairwise

import pytest
import torch
from segmentation_models_pytorch import Unet
from torch import Tensor, nn
from torch.nn import functional

from modules.contracts import ConfigError
from modules.decoding import augmented, dense, infer, padded, sliding, to_original
from modules.decoding.dense import class_map, starts, without_padding
from modules.decoding.tta import TTA, TiledTTA
from tests.helpers.errors import refuses

CLASSES = 4


def pixelwise(image: Tensor) -> Tensor:
    """Probabilities (B, 4, H, W) that depend on the pixel alone, so that tiles and mirrors change nothing."""
    return torch.cat([image, image.mean(1, keepdim=True)], dim=1).mul(3).softmax(1)


class Recorded:
    """A predictor that remembers the shapes it was asked for."""

    def __init__(self, predict=pixelwise):
        self.predict, self.shapes = predict, []

    def __call__(self, image: Tensor) -> Tensor:
        self.shapes.append(tuple(image.shape))
        return self.predict(image)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return Unet("resnet18", encoder_weights=None, classes=CLASSES, decoder_channels=(32, 16, 16, 8, 8)).eval()


def test_an_image_that_divides_goes_through_the_network_as_it_is(network):
    image = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(padded(network, image, 32), network(image))


@pytest.mark.parametrize(("size", "asked"), [((50, 70), (64, 96)), ((64, 70), (64, 96)), ((1, 33), (32, 64))])
def test_other_sizes_are_padded_to_a_multiple_and_cropped_back(size, asked):
    image, predict = torch.randn(2, 3, *size), Recorded()
    torch.testing.assert_close(padded(predict, image, 32), pixelwise(image))
    assert predict.shapes == [(2, 3, *asked)]


def test_padding_repeats_the_last_pixel_to_the_right_and_below():
    image, seen = torch.randn(1, 3, 5, 6), []
    padded(lambda x: seen.append(x) or x, image, 8)
    expected = image[:, :, torch.arange(8).clamp(max=4)][..., torch.arange(8).clamp(max=5)]
    assert torch.equal(seen[0], expected)


def test_an_image_that_fits_one_window_is_one_plain_pass(network):
    def predict(image: Tensor) -> Tensor:
        return network(image).softmax(1)

    image = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(sliding(predict, image, 96), predict(image))
        assert torch.equal(infer(network, image, 32, TiledTTA(tile_size=96)), predict(image))


@pytest.mark.parametrize(("length", "tile", "overlap"), [(100, 32, 0.5), (101, 32, 0.0), (33, 32, 0.9), (500, 7, 0.3)])
def test_tiles_cover_an_axis_overlap_as_asked_and_never_leave_it(length, tile, overlap):
    found = starts(length, tile, overlap)
    assert found[0] == 0
    assert found[-1] == length - tile
    steps = [after - before for before, after in pairwise(found)]
    assert max(steps) <= tile - round(tile * overlap)
    assert max(steps) - min(steps) <= 1


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("size", [(64, 64), (50, 71), (20, 90), (33, 32)])
def test_the_weights_of_all_tiles_sum_to_one_at_every_pixel(size, overlap):
    image = torch.randn(2, 3, *size)
    found = sliding(pixelwise, image, 32, overlap)
    torch.testing.assert_close(found, pixelwise(image), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.sum(1), torch.ones(2, *size))


def test_overlapping_tiles_are_blended_with_weights_that_fade_toward_their_borders():
    said = iter((torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])))

    def predict(image: Tensor) -> Tensor:
        return next(said)[None, :, None, None].expand(1, 2, *image.shape[-2:])

    found = sliding(predict, torch.zeros(1, 3, 4, 12), tile_size=8, tile_overlap=0.5, at_once=1)[0, 0]
    weight = [math.sin(math.pi * (i + 0.5) / 8) ** 2 for i in range(8)]
    both = [weight[4 + i] / (weight[4 + i] + weight[i]) for i in range(4)]
    torch.testing.assert_close(found, torch.tensor([1.0] * 4 + both + [0.0] * 4).expand(4, 12))
    assert sorted(both, reverse=True) == both


def test_probabilities_are_averaged_not_logits():
    logits = iter((torch.tensor([20.0, 0.0]), torch.tensor([0.0, 1.0])))

    def model(image: Tensor) -> Tensor:
        return next(logits)[None, :, None, None].expand(1, 2, *image.shape[-2:])

    found = infer(model, torch.zeros(1, 3, 8, 8), 1, TiledTTA(TTA(flip=True)))
    torch.testing.assert_close(found[0, 0], torch.full((8, 8), (1 + 1 / (1 + math.e)) / 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("images", "at_once", "passes"), [(1, 4, [4, 4, 1]), (2, 5, [4, 4, 4, 4, 2]), (3, 1, [3] * 9)])
def test_a_pass_holds_as_many_tiles_as_asked_but_one_of_each_image_at_least(images, at_once, passes):
    image, predict = torch.randn(images, 3, 64, 64), Recorded()
    found = sliding(predict, image, 32, 0.5, at_once)
    assert predict.shapes == [(count, 3, 32, 32) for count in passes]
    torch.testing.assert_close(found, pixelwise(image), atol=1e-6, rtol=0)


def test_a_side_shorter_than_the_window_is_covered_whole():
    predict = Recorded()
    sliding(predict, torch.randn(1, 3, 20, 64), 32, 0.5, at_once=1)
    assert predict.shapes == [(1, 3, 20, 32)] * 3


def test_tiles_of_a_network_agree_with_one_pass_away_from_what_they_cannot_see():
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, CLASSES, 5, padding=2)  # sees two pixels beyond a tile

    def predict(image: Tensor) -> Tensor:
        return convolution(image).softmax(1)

    image = torch.randn(1, 3, 40, 64)
    with torch.inference_mode():
        whole, found = predict(image), sliding(predict, image, 40, 0.5)
    # tiles at 0, 12 and 24: columns 26 to 33 lie at least two pixels inside each tile that holds them
    torch.testing.assert_close(found[..., 26:34], whole[..., 26:34])
    assert (found - whole).abs().max() < 0.05  # elsewhere what a tile cannot see weighs little


@pytest.mark.parametrize(("tile", "overlap"), [(32, 1.0), (32, -0.1), (0, 0.5)])
def test_tiles_that_cannot_move_are_refused(tile, overlap):
    with refuses(ConfigError, "tile_size", tile, "tile_overlap", overlap):
        sliding(pixelwise, torch.randn(1, 3, 64, 64), tile, overlap)


@pytest.mark.parametrize("scales", [[], [1.0, 0.0]])
def test_scales_that_leave_no_image_are_refused(scales):
    with refuses(ConfigError, "scales", scales):
        augmented(pixelwise, torch.randn(1, 3, 8, 8), scales=scales)


def test_without_flip_and_scales_it_is_a_plain_pass():
    image, predict = torch.randn(2, 3, 20, 30), Recorded()
    assert torch.equal(augmented(predict, image), pixelwise(image))
    assert predict.shapes == [(2, 3, 20, 30)]


def test_mirrors_of_a_predictor_that_knows_no_sides_change_nothing():
    image = torch.randn(2, 3, 20, 30)
    torch.testing.assert_close(augmented(pixelwise, image, flip=True), pixelwise(image))


def test_a_mirrored_image_is_mirrored_back_before_the_mean():
    kernel = torch.randn(CLASSES, 3, 1, 3)

    def predict(image: Tensor) -> Tensor:
        return functional.conv2d(image, kernel, padding=(0, 1)).softmax(1)

    image = torch.randn(2, 3, 20, 30)
    mirrored = functional.conv2d(image, kernel.flip(-1), padding=(0, 1)).softmax(1)
    torch.testing.assert_close(augmented(predict, image, flip=True), (predict(image) + mirrored) / 2)


def test_each_scale_is_shown_and_brought_back_to_the_images_size():
    image, predict = torch.randn(1, 3, 20, 31), Recorded()
    found = augmented(predict, image, flip=True, scales=[0.5, 1.0, 1.5])
    assert [shape[-2:] for shape in predict.shapes] == [(10, 16)] * 2 + [(20, 31)] * 2 + [(30, 46)] * 2
    assert found.shape == (1, CLASSES, 20, 31)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 20, 31))


def test_scales_of_a_smooth_image_agree():
    ramp = torch.linspace(-1, 1, 64)
    image = torch.stack([ramp.expand(48, 64), ramp.flip(0).expand(48, 64), torch.zeros(48, 64)])[None]
    found = augmented(pixelwise, image, scales=[0.5, 1.0, 2.0])
    torch.testing.assert_close(found, pixelwise(image), atol=0.02, rtol=0)


def test_the_way_back_cuts_the_padding_off_and_resizes_to_the_original():
    probabilities = torch.rand(3, CLASSES, 16, 24).softmax(1)
    inside = torch.tensor([[16, 20], [10, 24], [16, 24]])
    size = torch.tensor([[32, 40], [5, 12], [16, 24]])
    first, second, third = to_original(probabilities, inside, size)
    expected = functional.interpolate(probabilities[:1, :, :, :20], scale_factor=2, mode="bilinear")[0]
    torch.testing.assert_close(first, expected)
    assert second.shape == (CLASSES, 5, 12)
    torch.testing.assert_close(second.sum(0), torch.ones(5, 12))
    assert torch.equal(third, probabilities[2])


def test_the_way_back_holds_one_image_at_a_time():
    probabilities, inside = torch.rand(2, CLASSES, 8, 8), torch.tensor([[8, 8], [8, 8]])
    found = to_original(probabilities, inside, torch.tensor([[20, 20], [30, 10]]))
    assert next(found).shape == (CLASSES, 20, 20)
    assert next(found).shape == (CLASSES, 30, 10)


@pytest.mark.parametrize("size", [(40, 61), (7, 9), (16, 24)])
def test_class_maps_of_the_original_are_the_same_in_strips(size, monkeypatch):
    probabilities = torch.rand(CLASSES, 16, 24).softmax(0)
    whole = functional.interpolate(probabilities[None], size, mode="bilinear")[0].argmax(0)
    assert torch.equal(class_map(probabilities, size).long(), whole)
    monkeypatch.setattr(dense, "STRIP", 3 * CLASSES * size[1])
    assert (class_map(probabilities, size) == whole).float().mean() > 0.999  # but for rounding where two are equal


def test_images_of_their_own_size_are_seen_without_the_padding_of_their_batch():
    image, predict = torch.randn(3, 3, 20, 30), Recorded()
    inside = torch.tensor([[20, 30], [10, 15], [10, 15]])
    found = without_padding(predict, image, inside, inside)
    assert sorted(predict.shapes) == [(1, 3, 20, 30), (2, 3, 10, 15)]
    torch.testing.assert_close(found[1:, :, :10, :15], pixelwise(image[1:, :, :10, :15]))
    assert not found[1:, :, 10:].any()
    predict.shapes.clear()
    without_padding(predict, image, inside, 2 * inside)  # fitted into 20 x 30
    assert predict.shapes == [(3, 3, 20, 30)]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_network_takes_any_size_with_all_at_once(network, precision):
    image = torch.randn(1, 3, 70, 101)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        found = infer(network, image, 32, TiledTTA(TTA(True, (0.75, 1.0)), 64, 0.25))
    assert found.dtype == torch.float32
    assert found.shape == (1, CLASSES, 70, 101)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 70, 101))
