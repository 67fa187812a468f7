"""Letterbox resize: scaled, padded, and aligned with the maps."""

import numpy as np
import pytest
from PIL import Image

from datamodules import UnlabeledImages
from datamodules.letterbox import Letterbox, as_target_size, fitted
from modules.contracts import ConfigError
from tests.helpers.errors import refuses


def make_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("size", "target_size", "inside"),
    [
        ((360, 480), (192, 240), (180, 240)),
        ((360, 480), (360, 480), (360, 480)),
        ((100, 50), (64, 64), (64, 32)),
        ((10, 20), (64, 64), (32, 64)),
        ((1000, 3), (64, 64), (64, 1)),
        ((375, 500), (256, 256), (192, 256)),
    ],
)
def test_images_keep_their_proportions(size, target_size, inside):
    assert fitted(size, target_size) == inside


@pytest.mark.parametrize(("height", "width"), [(40, 56), (56, 40), (13, 90), (200, 7)])
def test_what_is_not_inside_is_padding(height, width):
    result = Letterbox((32, 48))(make_image(height, width), np.ones((height, width), np.uint8))
    assert (result["image"].shape, result["mask"].shape) == ((32, 48, 3), (32, 48))
    high, wide = result["inside"]
    assert result["size"] == (height, width)
    assert (high == 32 or wide == 48) and result["image"][:high, :wide].min() > 0
    assert (result["mask"][:high, :wide] == 1).all()
    for key, value in (("image", 0), ("mask", 255)):
        assert (result[key][high:] == value).all()
        assert (result[key][:, wide:] == value).all()


def test_shrinking_averages_areas():
    image = make_image(32, 48)
    means = image.reshape(8, 4, 12, 4, 3).mean((1, 3))
    np.testing.assert_allclose(Letterbox((8, 12))(image)["image"], means, atol=0.51)


def test_maps_hold_no_value_that_was_not_there():
    mask = np.random.default_rng(0).choice(np.array([0, 7, 255], np.uint8), (50, 70))
    for target_size in ((20, 20), (100, 100), (33, 47)):
        assert set(np.unique(Letterbox(target_size)(make_image(50, 70), mask)["mask"])) <= {0, 7, 255}


@pytest.mark.parametrize(
    ("target_size", "most"), [((20, 27), 0.05), ((12, 17), 0.05), ((180, 243), 0.05), ((30, 41), 0.3)]
)
def test_a_map_lies_where_its_image_does(target_size, most):
    """Mean over many shapes, since single edges are off by up to half a pixel. At half the size no pixel is central."""
    random, apart = np.random.default_rng(0), []
    rows, columns = np.mgrid[: target_size[0], : target_size[1]]
    for _ in range(100):
        (top, left), (high, wide) = random.integers(0, 25, 2), random.integers(20, 30, 2)
        mask = np.zeros((60, 81), np.uint8)
        mask[top : top + high, left : left + wide] = 1
        result = Letterbox(target_size)((mask * 255)[..., None].repeat(3, 2), mask)
        weights = [result["image"][..., 0].astype(float), (result["mask"] == 1).astype(float)]
        apart.append([np.subtract(*[(place * w).sum() / w.sum() for w in weights]) for place in (rows, columns)])
    assert np.abs(np.mean(apart, axis=0)).max() < most


def test_null_leaves_the_image_as_it_is():
    image = make_image(13, 17)
    result = Letterbox(None)(image)
    np.testing.assert_array_equal(result["image"], image)
    assert result["size"] == result["inside"] == (13, 17)


@pytest.mark.parametrize(("size", "said"), [(0, "0 x 0"), ((0, 5), "0 x 5"), ((64, -1), "64 x -1")])
def test_a_size_below_one_is_refused(size, said):
    with refuses(ConfigError, "data.image_size", said, "1 x 1"):
        as_target_size(size)


# Images --------------------------------------------------------------------------------------------------------------


def whole(root, image_size, **options) -> UnlabeledImages:
    data = UnlabeledImages(str(root), image_size=image_size, workers=0, **options)
    data.set_letterbox(True)
    data.setup("predict")
    return data


def test_images_to_be_answered_per_pixel_come_whole(image_folder):
    batch = next(iter(whole(image_folder({".": 3}, size=(20, 50)), (32, 40)).predict_dataloader()))
    assert set(batch) == {"image", "size", "inside", "id"}
    assert batch["image"].shape == (3, 3, 32, 40)
    assert batch["size"].tolist() == [[20, 50]] * 3
    assert batch["inside"].tolist() == [[16, 40]] * 3


def test_images_of_their_own_sizes_are_padded_to_the_largest_of_the_batch(tmp_path):
    for name, size in (("a", (12, 30)), ("b", (20, 10)), ("c", (5, 5))):
        Image.fromarray(make_image(*size)).save(tmp_path / f"{name}.png")
    first, second = whole(tmp_path, None, batch_size=2).predict_dataloader()
    assert first["image"].shape == (2, 3, 20, 30)
    assert first["inside"].tolist() == first["size"].tolist() == [[12, 30], [20, 10]]
    assert first["image"][0, :, 12:].max() == first["image"][1, :, :, 10:].max() == 0
    np.testing.assert_array_equal(first["image"][1, :, :, :10].permute(1, 2, 0), make_image(20, 10))
    assert second["image"].shape == (1, 3, 5, 5)


def test_images_of_every_kind_come_whole_and_upright(tmp_path):
    pixels = make_image(12, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "gray.png")
    Image.fromarray(np.dstack([pixels, pixels[..., :1]]), "RGBA").save(tmp_path / "alpha.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    (batch,) = whole(tmp_path, 40).predict_dataloader()
    sizes = dict(zip(batch["id"], batch["size"].tolist(), strict=True))
    assert sizes == {"alpha.png": [12, 30], "deep.png": [12, 30], "gray.png": [12, 30], "turned.jpg": [30, 12]}
    assert batch["inside"].tolist() == [[16, 40]] * 3 + [[40, 16]]


@pytest.mark.parametrize(("size", "said"), [((32, 40), [32, 40]), (None, "null")])
def test_tasks_that_see_squares_refuse_other_sizes(image_folder, size, said):
    data = UnlabeledImages(str(image_folder({".": 2})), image_size=size, workers=0)
    with refuses(ConfigError, "data.image_size", said):
        data.setup("predict")


def test_tasks_that_see_squares_get_them(image_folder):
    data = UnlabeledImages(str(image_folder({".": 2})), image_size=16, workers=0)
    data.setup("predict")
    assert {k: getattr(v, "shape", None) for k, v in next(iter(data.predict_dataloader())).items()} == {
        "image": (2, 3, 16, 16),
        "id": None,
    }
