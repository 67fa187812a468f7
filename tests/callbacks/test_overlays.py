"""Overlays of semantic maps, checked pixel by pixel."""

import numpy as np
import pytest
from PIL import Image

from callbacks.figures.overlays import DIFFERENT, differences, enlarged, legend, overlay, palette_of
from callbacks.figures.strips import strips, swatch
from modules.contracts import IGNORE
from modules.contracts.palette import palette as pascal_voc
from tests.helpers.errors import assert_named

PALETTE = [(0, 0, 0), (255, 0, 0), (0, 0, 255)]


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


@pytest.fixture
def mask():
    mask = np.zeros((40, 60), np.uint8)
    mask[:, 20:40], mask[:, 40:] = 1, 2
    return mask


def test_classes_tint_the_gray_image_with_their_own_color(image, mask):
    drawn = overlay(image, mask, PALETTE).astype(int)
    assert (np.ptp(drawn[1:39, 1:18], axis=2) == 0).all()  # black over gray
    red, green, blue = drawn[1:39, 21:38].transpose(2, 0, 1)
    assert (green == blue).all()
    assert (red - green >= 255 * 0.5).all()
    assert (drawn[1:39, 41:58].argmax(2) == 2).all()
    gray = np.asarray(Image.fromarray(image).convert("L"))[1:39, 21:38]
    assert np.corrcoef(green.ravel(), gray.ravel())[0, 1] > 0.99  # the image shines through


def test_a_darker_line_lies_where_classes_meet(mask):
    drawn = overlay(np.full((40, 60, 3), 200, np.uint8), mask, PALETTE)
    assert (drawn[:, 39] < drawn[:, 38] * 0.6 + 1).all()
    assert (drawn[:, 38] == drawn[:, 30]).all()
    assert (drawn[:, 40] == drawn[:, 50]).all()


def test_ignored_pixels_are_gray_and_hatched_whatever_the_palette(image, mask):
    mask[:, 20:40] = IGNORE
    drawn = overlay(image, mask, pascal_voc(256))[:, 20:38]
    assert (np.ptp(drawn.astype(int), axis=2) == 0).all()
    lines = drawn[..., 0] == 235
    assert 0.15 < lines.mean() < 0.4
    assert (lines[1:, :-1] == lines[:-1, 1:]).mean() > 0.9  # they run from the top right to the bottom left


def test_mistakes_are_red_and_nothing_else_is(image, mask):
    true, said = mask.copy(), mask.copy()
    said[:10] = 2
    true[:, :5] = IGNORE
    drawn = differences(image, true, said).astype(int)
    red = drawn[..., 0] - drawn[..., 1:].max(axis=2) > 80
    assert (red == ((said != true) & (true != IGNORE))).all()


def test_a_legend_names_what_occurs_and_what_is_ignored(mask):
    mask[0] = IGNORE
    entries = legend([mask, mask[:, 40:]], ["ground", "car", "tree"], PALETTE)
    assert [name for name, _ in entries] == ["ground", "car", "tree", "ignored"]
    assert (entries[1][1] == PALETTE[1]).all()
    assert [name for name, _ in legend([mask[1:, 40:]], ["ground", "car", "tree"], PALETTE)] == ["tree"]


def test_of_many_classes_the_legend_names_the_20_with_the_most_pixels():
    pixels = np.repeat(np.arange(30, dtype=np.uint8), np.arange(1, 31))
    names = [name for name, _ in legend([pixels], list(map(str, range(30))), pascal_voc(30))]
    assert names[:-1] == [*map(str, range(10, 30))]
    assert_named(names[-1], 10)


def test_the_colors_are_those_of_the_data_or_of_pascal_voc():
    class Plain:
        palette = None

    class Own:
        palette = PALETTE

    assert palette_of(Own(), ["a", "b", "c"]) == PALETTE
    assert palette_of(Plain(), ["a", "b"]) == palette_of(None, ["a", "b"]) == [(0, 0, 0), (128, 0, 0)]


def test_strips_hold_every_panel_pixel_by_pixel(image):
    other = 255 - image[:30]
    entries = [("class $", swatch(DIFFERENT))]
    drawn = strips([(image, other)] * 3, ("one", "two"), ["$\\frac$\n2"] * 3, entries, "$ of $")
    for panel in (image, other):
        height, width = panel.shape[:2]
        starts = np.argwhere((drawn[:-height, :-width] == panel[0, 0]).all(2))
        found = [(drawn[y : y + height, x : x + width] == panel).all() for y, x in starts]
        assert sum(found) == 3
    assert (drawn == DIFFERENT).all(2).sum() == 14 * 22


def test_strips_are_as_wide_as_their_captions(image):
    caption = "images/000000000000.png"
    drawn = strips([[image]] * 16, ("",), [caption] * 16, [], "t")
    assert (drawn[:, -5:] == 255).all()  # no text runs into the right edge
    starts = np.unique(np.argwhere((drawn[:-40, :-60] == image[0, 0]).all(2))[:, 1])
    starts = [x for x in starts if any((drawn[y : y + 40, x : x + 60] == image).all() for y in range(len(drawn) - 40))]
    assert len(starts) > 1 and np.diff(starts).min() > 7.5 * len(caption)


def test_small_images_are_enlarged_by_whole_factors_and_large_ones_are_not():
    small, large = np.arange(64 * 48).reshape(64, 48), np.zeros((240, 320, 3))
    assert (enlarged(small) == small.repeat(3, 0).repeat(3, 1)).all()
    assert enlarged(large).shape == large.shape
