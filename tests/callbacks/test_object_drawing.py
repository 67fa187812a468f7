"""Boxes, masks and tags drawn over images, checked pixel by pixel."""

from types import SimpleNamespace

import numpy as np
import pytest
from pycocotools import mask as coco

from callbacks.collectors.detection import Panel, _drawn
from callbacks.figures.objects import draw_objects, further_palette, mostly_small, object_palette, stacked

PALETTE = [(255, 0, 0), (0, 0, 255)]


@pytest.fixture
def image():
    return np.full((120, 160, 3), 100, np.uint8)


@pytest.fixture
def masks():
    """Masks of noise, of noise in a corner, and an empty one."""
    random = np.random.default_rng(0)
    masks = random.integers(0, 2, (4, 40, 60)).astype(np.uint8)
    masks[1, :20], masks[2, :, :50], masks[3] = 0, 0, 0
    return masks


def rles(masks):
    return coco.encode(np.asfortranarray(masks.transpose(1, 2, 0)))


def test_the_first_object_lies_on_top(masks):
    expected = np.where(masks.any(0), masks.argmax(0) + 1, 0)
    assert np.array_equal(stacked(rles(masks), (40, 60)), expected)
    assert not stacked([], (40, 60)).any()


@pytest.mark.parametrize("factor", [1, 3, 5])
def test_smaller_maps_take_the_middle_of_each_cell(masks, factor):
    whole = masks.repeat(factor, axis=1).repeat(factor, axis=2)
    assert np.array_equal(stacked(rles(whole), (40, 60)), stacked(rles(masks), (40, 60)))


def test_larger_maps_show_the_same(masks):
    assert np.array_equal(stacked(rles(masks), (80, 180)), stacked(rles(masks), (40, 60)).repeat(2, 0).repeat(3, 1))


def test_boxes_have_the_color_of_their_class_on_white_and_the_image_stays_as_it_is(image):
    before = image.copy()
    drawn = draw_objects(image, np.array([[20.2, 30, 60, 79.8], [100, 30, 140, 80]]), [0, 1], PALETTE)
    assert np.array_equal(image, before)
    assert (drawn[30, 25:55] == PALETTE[0]).all()
    assert (drawn[35:75, 140] == PALETTE[1]).all()
    assert (drawn[28, 25:55] == 255).all()
    assert (drawn[40:70, 30:50] == 100).all()


def test_a_mask_is_a_half_transparent_fill_within_a_line_of_its_color(image):
    shown = np.zeros((120, 160), int)
    shown[40:60, 40:80], shown[40:60, 80:90] = 1, 2
    drawn = draw_objects(image, np.zeros((2, 4)), [0, 1], PALETTE, shown=shown)
    assert (drawn[42:58, 42:78] == (178, 50, 50)).all()
    assert (drawn[42:58, 82:88] == (50, 50, 178)).all()
    for column, color in ((40, PALETTE[0]), (79, PALETTE[0]), (80, PALETTE[1]), (89, PALETTE[1])):
        assert (drawn[42:58, column] == color).all()
    assert (drawn[70:, 100:] == 100).all()


def filled(drawn, color):
    """Mask of the pixels of that color."""
    return (drawn == color).all(2).sum()


def test_tags_are_written_where_there_is_room_and_never_over_each_other(image):
    box = np.array([[20, 50, 60, 90]])
    plain = draw_objects(image, box, [0], PALETTE)
    one = draw_objects(image, box, [0], PALETTE, ["97"])
    assert np.array_equal(plain[55:], one[55:])
    assert filled(one[:50], PALETTE[0]) > filled(plain[:50], PALETTE[0]) + 50
    again = draw_objects(image, box.repeat(3, 0), [0, 1, 1], PALETTE, ["97", "5", "6"])
    assert np.array_equal(again[:45], one[:45])
    assert not filled(again, PALETTE[1])  # nor is a box of lower score drawn over it


@pytest.mark.parametrize("corner", [(0, 0), (150, 0), (0, 115), (150, 115)])
def test_tags_stay_inside_of_the_image(image, corner):
    left, top = corner
    box = np.array([[left, top, left + 9, top + 4]])
    tagged = draw_objects(image, box, [0], PALETTE, ["a long name 97"])
    assert filled(tagged, PALETTE[0]) > filled(draw_objects(image, box, [0], PALETTE), PALETTE[0]) + 300


def test_many_small_objects_are_not_covered_by_tags(image):
    corners = np.array([(x, y) for x in range(5, 155, 15) for y in range(5, 115, 15)])
    boxes, labels = np.concatenate([corners, corners + 8], 1), [0] * len(corners)
    tags = [str(i) for i in labels]
    assert np.array_equal(
        draw_objects(image, boxes, labels, PALETTE, tags), draw_objects(image, boxes, labels, PALETTE)
    )
    few = draw_objects(image, boxes[:9], labels[:9], PALETTE, tags[:9])
    assert not np.array_equal(few, draw_objects(image, boxes[:9], labels[:9], PALETTE))


def test_the_panels_of_a_figure_have_lines_of_one_width(image):
    large, tiny = np.array([[10, 10, 90, 90]]), np.array([[40, 40, 48, 48], [60, 60, 68, 68]])
    alone = draw_objects(image, large, [0], PALETTE)
    assert not mostly_small([(image, large)]) and not mostly_small([(image, np.zeros((0, 4)))])
    small = mostly_small([(image, large), (image, tiny)])
    assert small
    thin, wide = (filled(drawn, PALETTE[0]) for drawn in (draw_objects(image, large, [0], PALETTE, small=small), alone))
    assert thin == 4 * 80 < wide
    panels = [Panel(image, large, [0], (), None), Panel(image, tiny, [0, 0], (), None)]
    drawn = _drawn(panels, SimpleNamespace(classes=["a", "b"]))[0]
    assert drawn.tolist() == draw_objects(image, large, [0], object_palette(2), small=True).tolist()


def test_keypoints_are_dots_rings_where_occluded_and_nothing_where_not_labeled(image):
    points = np.array([[[30, 40, 2], [90, 40, 1], [60, 90, 0]]])
    colors = further_palette(2, 3)
    drawn = draw_objects(image, np.zeros((0, 4)), [], PALETTE, points=points, edges=[(0, 1), (1, 2)])
    assert drawn[40, 30].tolist() == [*colors[0]]
    assert drawn[40, 90].tolist() == [255] * 3
    assert np.abs(drawn[36:45, 86:95].astype(int) - colors[1]).sum(2).min() < 60  # a thin ring, antialiased
    assert drawn[40, 60].min() > 230  # the line between both
    assert (drawn[60:] == image[60:]).all()
    assert not set(colors) & set(object_palette(2))


def test_nothing_found_leaves_the_image(image):
    assert np.array_equal(draw_objects(image, np.zeros((0, 4)), [], PALETTE, [], np.zeros((120, 160), int)), image)


@pytest.mark.parametrize("count", [1, 10, 20, 80, 200])
def test_classes_differ_in_color_and_none_is_black(count):
    colors = object_palette(count)
    assert len(set(colors)) == count
    assert min(map(max, colors)) > 50
    neighbors = np.abs(np.diff(np.array(colors, int), axis=0)).sum(1)
    assert count == 1 or neighbors.min() > 30
