"""Augmentation policies: operations as torchvision's, published spaces, views that belong together, erasing, jitter."""

import math

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as peer

from datamodules import Shapes
from datamodules.augment import Augment
from datamodules.detection.augment import ObjectAugment
from datamodules.policies import AugMix, RandAugment, TrivialAugment
from datamodules.policies.operations import GEOMETRIC, OPERATIONS
from datamodules.policies.policies import BINS, randaugment_value, trivial_value
from datamodules.segmentation.augment import MaskAugment
from modules.contracts import ConfigError
from tests.helpers.errors import refuses

NEAREST = InterpolationMode.NEAREST


def smooth(height: int = 48, width: int = 56) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def affine(image: torch.Tensor, **given) -> torch.Tensor:
    usual = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0], "interpolation": NEAREST}
    return peer.affine(image, **usual | given)


def degrees(slope: float) -> float:
    return math.degrees(math.atan(slope))


PEERS = {
    "identity": lambda x, v: x,
    "shear_x": lambda x, v: affine(x, shear=[degrees(v), 0.0], center=[0, 0]),
    "shear_y": lambda x, v: affine(x, shear=[0.0, degrees(v)], center=[0, 0]),
    "translate_x": lambda x, v: affine(x, translate=[int(v * x.shape[2]), 0]),
    "translate_y": lambda x, v: affine(x, translate=[0, int(v * x.shape[1])]),
    "rotate": lambda x, v: peer.rotate(x, v, interpolation=NEAREST),
    "brightness": lambda x, v: peer.adjust_brightness(x, 1 + v),
    "color": lambda x, v: peer.adjust_saturation(x, 1 + v),
    "contrast": lambda x, v: peer.adjust_contrast(x, 1 + v),
    "sharpness": lambda x, v: peer.adjust_sharpness(x, 1 + v),
    "posterize": lambda x, v: peer.posterize(x, int(v)),
    "solarize": lambda x, v: peer.solarize(x, v),
    "autocontrast": lambda x, v: peer.autocontrast(x),
    "equalize": lambda x, v: peer.equalize(x),
}
VALUES = {"rotate": [-30, 17.3, 100], "posterize": [8, 6, 2], "solarize": [255, 100.5, 0]}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_those_of_torchvision(name):
    image = smooth()
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    for value in VALUES.get(name, [-0.29, 0.17, 0.9]):
        expected = PEERS[name](tensor, value).permute(1, 2, 0).numpy()
        apart = np.abs(OPERATIONS[name](image, value).astype(int) - expected)
        assert (apart > 1).any(-1).mean() < (0.04 if name in GEOMETRIC else 1e-9)  # ties between two pixels


def test_operations_leave_plain_and_tiny_images_alone():
    for image in (np.full((5, 4, 3), 7, np.uint8), np.full((1, 1, 3), 9, np.uint8)):
        for name in ("autocontrast", "equalize", "sharpness", "color"):
            assert np.array_equal(OPERATIONS[name](image, 0.5), image)


def test_the_spaces_are_those_of_torchvision():
    names = {"shear_x": "ShearX", "translate_y": "TranslateY", "rotate": "Rotate", "brightness": "Brightness"}
    names |= {"sharpness": "Sharpness", "posterize": "Posterize", "solarize": "Solarize"}
    for ours, theirs in names.items():
        space, wide = (policy()._AUGMENTATION_SPACE[theirs][0] for policy in (v2.RandAugment, v2.TrivialAugmentWide))
        scale = {"translate_y": 64, "solarize": 1 / 255}.get(ours, 1)
        assert scale * randaugment_value(ours, 9 / 30) == pytest.approx(space(BINS, 64, 64)[9].item(), abs=1e-4)
        assert scale * trivial_value(ours, 20 / 30, 64) == pytest.approx(wide(BINS, 64, 64)[20].item(), abs=1e-4)


def test_policies_draw_every_operation_and_sign():
    def drawn(policy: RandAugment | TrivialAugment, key: str) -> list[list]:
        policy.set_random_seed(0)
        data = {"image": smooth()}
        return [(policy.get_params() | policy.get_params_dependent_on_data({}, data))[key] for _ in range(600)]

    chains = drawn(RandAugment(3, 30), "chain")
    assert {len(chain) for chain in chains} == {3}
    flat = [one for chain in chains for one in chain]
    assert {name for name, _ in flat} == set(OPERATIONS)
    assert {value for name, value in flat if name == "rotate"} == {-30, 30}
    assert len({value for ((name, value),) in drawn(TrivialAugment(), "chain") if name == "rotate"}) > 20
    widths = drawn(AugMix(), "chains")
    assert {len(chain) for chains in widths for chain in chains} == {1, 2, 3}
    assert "brightness" not in {name for chains in widths for chain in chains for name, _ in chain}


def test_augmix_is_the_weighted_mean_of_chains_and_image():
    image = smooth()
    chains = [[("solarize", 128)], [("posterize", 2), ("solarize", 0)]]
    found = AugMix(width=2).apply(image, [], chains=chains, weights=[0.25, 0.75], share=0.4)
    first = OPERATIONS["solarize"](image, 128).astype(float)
    second = 255.0 - (image & 192)
    assert np.abs(found - (0.6 * image + 0.4 * (0.25 * first + 0.75 * second))).max() <= 0.51


@pytest.mark.parametrize("recipe", ["randaugment", "trivialaugment", "augmix"])
def test_boxes_and_masks_keep_their_places(recipe):
    objects = ObjectAugment((48, 48), (1.0, 1.0), 0.0, 0.0, 0.0, recipe, 0.1, masks=False)
    masks = MaskAugment((48, 48), (1.0, 1.0), 0.0, recipe)
    for augment in (objects, masks):
        policies = [one for one in augment.transforms if isinstance(one, RandAugment | TrivialAugment | AugMix)]
        assert len(policies) == 1 and not set(policies[0].names) & set(GEOMETRIC)


def test_a_clip_shares_its_draws():
    for recipe in ("randaugment", "trivialaugment", "augmix"):
        clip = Augment(32, None, recipe)(np.stack([smooth()] * 3), 0, 1, 2, 3)
        assert np.array_equal(clip[0], clip[1]) and np.array_equal(clip[0], clip[2])


@pytest.mark.parametrize(("mode", "colors"), [("constant", 1), ("color", 1), ("pixel", 50)])
def test_erasing_fills_a_box_after_the_recipe(mode, colors):
    image = np.zeros((64, 64, 3), np.uint8)
    augment, seen = Augment(64, None, "none", erasing=(1.0, mode)), set()
    for key in range(4):
        found = augment(image, key)
        rows, columns = np.nonzero(found.any(-1))
        box = found[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].reshape(-1, 3)
        assert 0.01 < len(box) / 64**2 < 0.36
        assert (len(np.unique(box, axis=0)) == 1) if colors == 1 else (len(np.unique(box, axis=0)) > colors)
        seen.add(tuple(box[0]))
    assert (seen == {(124, 116, 104)}) == (mode == "constant")


def test_scale_jitter_resizes_the_shorter_side_and_cuts_a_square():
    height, width = 60, 90
    ramp = np.repeat(np.linspace(0, 255, width)[None], height, 0)
    image = np.repeat(ramp[..., None], 3, -1).astype(np.uint8)
    augment = Augment(32, None, "none", scale_jitter=(32, 64))
    steps = [augment(image, key)[0, :, 0].astype(float) for key in range(60)]
    sides = [255 / ((row[-4] - row[3]) / 25) / width * height for row in steps if row[-1] < 250 and row[0] > 5]
    assert min(sides) < 38 and max(sides) > 56  # of 32..64
    assert len({row[0] for row in steps}) > 10


def data(**options) -> Shapes:
    usual = {"train": 12, "val": 4, "test": 4, "image_size": 32, "batch_size": 4, "workers": 0}
    module = Shapes(**usual | options)
    module.setup("fit")
    return module


def test_consistent_views_share_crop_and_flip_and_validation_sees_single_images():
    module = data(views=3, augment="augmix", consistent_views=True, crop=(0.5, 1.0))
    flips = data(views=1, augment="flip", crop=(0.5, 1.0))
    views = module.dataset("train", "train")[0, 5]["views"]
    assert np.array_equal(views[0], flips.dataset("train", "train")[0, 5]["views"][0])
    assert not np.array_equal(views[1], views[2]) and not np.array_equal(views[0], views[1])
    assert "image" in next(iter(module.val_dataloader()))


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"repeats": 0}, ["data.repeats", 0]),
        ({"erasing": "pixel", "erasing_prob": 2}, ["data.erasing_prob", 2]),
        ({"scale_jitter": (16, 64)}, ["data.scale_jitter", 32]),
        ({"scale_jitter": (64, 32)}, ["data.scale_jitter"]),
        ({"scale_jitter": (32, 64), "crop": (0.2, 1.0)}, ["data.scale_jitter", "data.crop"]),
        ({"erasing": "pixel", "augment_device": "device"}, ["data.erasing", "data.augment_device"]),
        ({"augment": "randaugment", "augment_device": "device"}, ["data.augment_device", "data.augment"]),
        ({"consistent_views": True}, ["data.consistent_views", "data.views"]),
        ({"consistent_views": True, "views": 3, "augment": [A.HorizontalFlip()]}, ["data.consistent_views"]),
    ],
)
def test_settings_that_do_not_go_together_are_named(settings, names):
    with refuses(ConfigError, *names):
        data(**settings)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: RandAugment(num_ops=0), "num_ops"),
        (lambda: RandAugment(magnitude=31), "magnitude"),
        (lambda: AugMix(severity=0), "severity"),
        (lambda: AugMix(alpha=0), "alpha"),
    ],
)
def test_policies_out_of_range_are_named(make, name):
    with refuses(ConfigError, name):
        make()
