"""Views in batches are what albumentations makes of one image, the same bits in whatever batch."""

import cv2
import numpy as np
import pytest
import torch
from albumentations.augmentations.blur.functional import create_gaussian_kernel_1d
from albumentations.augmentations.pixel import functional as alone
from torch import Tensor

from datamodules.synthetic.render import render
from datamodules.synthetic.world import scene
from modules.augmentation import views
from modules.augmentation.views import BRIGHTNESS, CONTRAST, HUE, NEUTRAL, SATURATION, ViewParameters, make_views

IMAGES = [render(scene(0, i), 64)[0] for i in range(6)] + [
    np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8),
    np.full((64, 64, 3), 77, np.uint8),
]
TINTS = {
    BRIGHTNESS: alone.adjust_brightness_torchvision,
    CONTRAST: alone.adjust_contrast_torchvision,
    SATURATION: alone.adjust_saturation_torchvision,
}


def batch(images: list[np.ndarray] = IMAGES) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def each(value: float) -> Tensor:
    return torch.full((len(IMAGES),), value)


def assert_near(ours: Tensor, theirs: list[np.ndarray], levels: int = 1) -> None:
    assert (ours.permute(0, 2, 3, 1) - torch.from_numpy(np.stack(theirs)).float()).abs().max() <= levels


def drawn(
    count: int,
    box: tuple[int, ...] = (0, 0, 64, 64),
    flip: bool = False,
    factors: tuple[float, ...] = NEUTRAL,
    order: tuple[int, ...] = (0, 1, 2, 3),
    gray: bool = False,
    sigma: float = 0.0,
) -> Tensor:
    """The same draws for `count` images, one view each."""
    return torch.tensor([[[*box, flip, *factors, *order, gray, sigma]]] * count, dtype=torch.float32)


def random_draws(count: int, views: int, seed: int = 0) -> Tensor:
    """ViewParameters that need every operation."""
    random, every = np.random.default_rng(seed), (count, views, 1)
    first, stop = random.integers(0, 30, (count, views, 2)), random.integers(34, 65, (count, views, 2))
    parts = ViewParameters(
        box=np.concatenate([first, stop], -1),
        flip=random.random(every) < 0.5,
        factors=random.uniform([0.6, 0.6, 0.6, -0.5], [1.4, 1.4, 1.4, 0.5], (count, views, 4)),
        order=random.random((count, views, 4)).argsort(-1),
        gray=random.random(every) < 0.3,
        sigma=random.uniform(0.1, 2, every) * (random.random(every) < 0.5),
    )
    return torch.from_numpy(np.concatenate(parts, -1).astype(np.float32))


# One operation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.0, 0.6, 0.93, 1.0, 1.4])
@pytest.mark.parametrize("kind", TINTS)
def test_brightness_contrast_and_saturation_are_those_of_albumentations(kind, factor):
    ours = views.tint(batch().float(), each(kind), each(factor))
    assert_near(ours, [TINTS[kind](image, factor) for image in IMAGES])


@pytest.mark.parametrize("turns", [-0.5, -0.07, 0.001, 0.13, 0.5])
def test_hue_is_that_of_albumentations(turns):
    ours = views.turn_hue(batch().float(), each(turns))
    assert_near(ours, [alone.adjust_hue_torchvision(image, turns) for image in IMAGES])


def test_gray_is_that_of_albumentations():
    ours = views.luma(batch().float()).expand(-1, 3, -1, -1)
    assert_near(ours, [alone.to_gray(image, 3, "weighted_average") for image in IMAGES], 0)


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.7, 1.3, 2.0])
def test_blur_is_that_of_albumentations(sigma):
    kernel = create_gaussian_kernel_1d(sigma)
    assert_near(views.blur(batch().float(), each(sigma)), [alone.separable_convolve(image, kernel) for image in IMAGES])


def test_every_image_has_a_blur_of_its_own():
    sigma = torch.linspace(0.1, 2.0, len(IMAGES))
    kernels = [create_gaussian_kernel_1d(one) for one in sigma.tolist()]
    theirs = [alone.separable_convolve(image, kernel) for image, kernel in zip(IMAGES, kernels, strict=True)]
    assert_near(views.blur(batch().float(), sigma), theirs)


@pytest.mark.parametrize("size", [20, 32, 64, 96])
@pytest.mark.parametrize("box", [(0, 0, 64, 64), (3, 5, 40, 33), (60, 60, 64, 62), (0, 10, 64, 50), (9, 9, 10, 10)])
def test_crops_are_resized_as_opencv_does(box, size):
    (ours,) = make_views(batch(), drawn(len(IMAGES), box), size)
    left, top, right, bottom = box
    theirs = [cv2.resize(image[top:bottom, left:right], (size, size)) for image in IMAGES]
    assert_near(ours.float(), theirs)
    (mirrored,) = make_views(batch(), drawn(len(IMAGES), box, flip=True), size)
    assert torch.equal(mirrored, ours.flip(3))


def test_images_that_are_not_square_are_cropped_in_place():
    image = cv2.resize(IMAGES[0], (90, 40))
    box = (50, 3, 88, 37)
    (ours,) = make_views(batch([image]), drawn(1, box), 32)
    assert_near(ours.float(), [cv2.resize(image[3:37, 50:88], (32, 32))])


# All of them ---------------------------------------------------------------------------------------------------------


def by_albumentations(image: np.ndarray, draws: Tensor, size: int) -> np.ndarray:
    """One view (size, size, 3) by the functions that albumentations has for one image."""
    box, flip, factors, order, gray, sigma = (part.numpy() for part in draws.split(views.WIDTHS))
    left, top, right, bottom = box.astype(int)
    image = cv2.resize(image[top:bottom, left:right], (size, size))
    image = image[:, ::-1].copy() if flip[0] else image
    functions = {**TINTS, HUE: alone.adjust_hue_torchvision}
    for kind in order.astype(int):
        image = functions[kind](image, float(factors[kind]))
    image = alone.to_gray(image, 3, "weighted_average") if gray[0] else image
    return alone.separable_convolve(image, create_gaussian_kernel_1d(float(sigma[0]))) if sigma[0] else image


@pytest.mark.parametrize("size", [48, 80])
def test_a_view_is_what_albumentations_makes_with_the_same_numbers(size):
    draws = random_draws(len(IMAGES), 5)
    far = []
    for view, made in enumerate(make_views(batch(), draws, size)):
        assert (made.dtype, made.shape) == (torch.uint8, (len(IMAGES), 3, size, size))
        theirs = np.stack([by_albumentations(p, d[view], size) for p, d in zip(IMAGES, draws, strict=True)])
        far.append(np.abs(made.permute(0, 2, 3, 1).numpy().astype(int) - theirs).max(-1))
    # a level more or less before the hue turns can make its step of 2 degrees another
    assert np.mean(np.stack(far) > 3) < 0.02
    assert np.mean(far) < 0.8


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_the_order_is_kept(order):
    factors = (1.4, 0.6, 1.4, 0.2)
    draws = drawn(len(IMAGES), factors=factors, order=order)
    (made,) = make_views(batch(), draws, 64)
    theirs = np.stack([by_albumentations(image, draws[0, 0], 64) for image in IMAGES])
    assert np.mean(np.abs(made.permute(0, 2, 3, 1).numpy().astype(int) - theirs) > 3) < 0.02


def test_neutral_draws_leave_the_image_alone():
    (made,) = make_views(batch(), drawn(len(IMAGES)), 64)
    assert torch.equal(made, batch())


@pytest.mark.parametrize("size", [48, 80])
def test_a_view_is_the_same_bits_in_any_batch(size, monkeypatch):
    image, draws = batch(), random_draws(len(IMAGES), 3)
    together = make_views(image, draws, size)
    alone = [make_views(image[i : i + 1], draws[i : i + 1], size) for i in range(len(image))]
    for view, made in enumerate(together):
        assert torch.equal(made, torch.cat([single[view] for single in alone]))
    order = torch.randperm(len(image))
    for made, shuffled in zip(together, make_views(image[order], draws[order], size), strict=True):
        assert torch.equal(made[order], shuffled)
    monkeypatch.setattr(views, "LARGEST", 3 * 3 * size * size * 2)  # two images in one go
    for made, bit_by_bit in zip(together, make_views(image, draws, size), strict=True):
        assert torch.equal(made, bit_by_bit)


def test_views_are_channels_last_and_the_images_are_left_alone():
    for image in (batch(), batch().contiguous()):
        before = image.clone()
        made = make_views(image, random_draws(len(IMAGES), 2), 80)
        assert all(view.is_contiguous(memory_format=torch.channels_last) for view in made)
        assert torch.equal(image, before)


@pytest.mark.gpu
@pytest.mark.parametrize("size", [48, 80])
def test_a_gpu_makes_the_views_of_the_cpu(size):
    draws = random_draws(len(IMAGES), 5)
    here, there = (make_views(image, draws, size) for image in (batch(), batch().cuda()))
    for ours, theirs in zip(here, there, strict=True):
        far = (ours.int() - theirs.cpu().int()).abs()
        assert (far > 1).float().mean() < 0.01
