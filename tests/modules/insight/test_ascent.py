"""Gradient ascent on images and on a generator's input."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from modules.insight.ascent import (
    OpenReLUs,
    OptimizedImage,
    OptimizedNoise,
    ascend,
    descend,
    shifted,
    total_variation,
)

SHAPE = (2, 3, 16, 20)


@pytest.mark.parametrize("basis", ["pixels", "fourier"])
@pytest.mark.parametrize("decorrelate", [True, False])
def test_an_image_begins_where_it_should_and_can_become_any_other(basis, decorrelate):
    start, wanted = torch.rand(SHAPE).clamp(0.01, 0.99), torch.rand(SHAPE).clamp(0.05, 0.95)
    image = OptimizedImage(SHAPE, basis, decorrelate, start)
    torch.testing.assert_close(image(), start, rtol=1e-3, atol=1e-4)
    scores = ascend(image, lambda x: -(x - wanted).square().mean((1, 2, 3)), 300, 0.1)
    assert scores[-1] > 0.1 * scores[0]


@pytest.mark.parametrize("channels", [1, 3])
def test_without_a_start_it_is_gray(channels):
    made = OptimizedImage((1, channels, 8, 8))()
    assert made.shape == (1, channels, 8, 8) and (made - 0.5).abs().max() < 0.1


def test_frequencies_begin_with_the_spectrum_of_natural_images():
    white, natural = (OptimizedImage((1, 1, 64, 64), basis).values for basis in ("pixels", "fourier"))
    flat = torch.view_as_complex(natural.detach()).abs()[0, 0]
    assert flat.shape == (64, 33) and white.shape == (1, 1, 64, 64)
    image = OptimizedImage((1, 1, 64, 64))
    with torch.no_grad():
        image.values.normal_()
        power = torch.fft.rfft2(image().logit()).abs()[0, 0]
    assert power[1:4, 1:4].mean() > 5 * power[20:30, 20:30].mean()


def test_noise_keeps_the_length_of_random_noise_and_its_image_reaches_a_score():
    weights = torch.randn(16, 12)
    image = OptimizedNoise(lambda noise: (noise @ weights).tanh().view(-1, 3, 2, 2), torch.randn(3, 16))
    scores = ascend(image, lambda x: x.mean((1, 2, 3)), 60, 0.1)
    assert scores[-1] > scores[0] + 0.1
    assert image.noise.norm(dim=1).tolist() == pytest.approx([4] * 3, rel=1e-5)


def test_regularizers_do_what_they_say():
    image = torch.rand(1, 3, 12, 12)
    assert shifted(image, 0) is image
    moved = shifted(image, 3, torch.Generator().manual_seed(1))
    places = [(y, x) for y in range(-3, 4) for x in range(-3, 4)]
    inner = moved[..., 3:9, 3:9]
    assert any(torch.equal(inner, image[..., 3 + y : 9 + y, 3 + x : 9 + x]) for y, x in places)
    steps = torch.tensor([0.0, 1, 0, 1]).expand(1, 1, 4, 4)
    assert total_variation(steps).tolist() == [1]
    rough, smooth = (OptimizedImage(SHAPE, "pixels", start=torch.rand(SHAPE)) for _ in range(2))
    ascend(rough, lambda x: x.mean((1, 2, 3)), 40)
    ascend(smooth, lambda x: x.mean((1, 2, 3)), 40, variation=10.0)
    assert total_variation(smooth()).mean() < 0.85 * total_variation(rough()).mean()


def test_blur_hides_fine_noise_from_the_score():
    checks = torch.ones(16, 20)
    checks[::2, ::2] = checks[1::2, 1::2] = -1
    found = {}
    for blur in (0.0, 1.5):
        image = OptimizedImage(SHAPE, "pixels", decorrelate=False)
        ascend(image, lambda x: (x * checks).mean((1, 2, 3)), 30, 0.1, blur=blur)
        found[blur] = (image() * checks).mean().item()
    assert found[1.5] < 0.3 * found[0.0]


def test_inference_mode_gives_no_zero_gradients():
    image = OptimizedImage(SHAPE)
    with torch.inference_mode():
        scores = ascend(image, lambda x: x.mean((1, 2, 3)), 5)
    assert scores[-1] > scores[0]


def test_a_channel_that_is_zero_everywhere_gets_a_gradient_through_open_relus():
    network = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU(inplace=True))
    nn.init.constant_(network[0].bias, -5)
    found = []
    for context in (nullcontext(), OpenReLUs()):
        image = torch.rand(1, 3, 4, 4, requires_grad=True)
        with context:
            out = network(image)
        out.sum().backward()
        found.append((out.max().item(), image.grad.abs().sum().item()))
    assert found[0] == (0, 0) and found[1][0] == 0 and found[1][1] > 0


def test_a_cost_falls_by_l_bfgs():
    image, wanted = OptimizedImage(SHAPE, decorrelate=False), torch.rand(SHAPE).clamp(0.05, 0.95)
    descend(image, lambda x: (x - wanted).square().mean((1, 2, 3)), 200)
    assert (image() - wanted).square().mean() < 5e-3
