"""The built-in world: the same images everywhere, labels that only shape gives away, id maps that fit the pixels."""

import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from datamodules.synthetic import Shapes
from datamodules.synthetic.render import ONE, SINE, TURN, boxes, masks, render
from datamodules.synthetic.world import COLORS, SHAPES, TEXTURES, Background, Scene, Thing, scene
from modules.contracts import ConfigError
from tests.helpers.errors import refuses

# first 16 hex digits of the SHA-256 of image and id map: (index, size, digest)
KNOWN = [
    (0, 64, "1bc9ec8ee0a0a126"),
    (1, 64, "5a5caf3594d577c1"),
    (2, 97, "ecc707aabb27d86c"),
    (3, 224, "eb99128b23e83815"),
]


def digest(index: int, size: int, time: float = 0.5) -> str:
    return hashlib.sha256(b"".join(part.tobytes() for part in render(scene(7, index), size, time))).hexdigest()


def lone(shape: str = "circle", **changes) -> Scene:
    """A plain blue thing at rest in the middle of a gray image."""
    thing = Thing(
        SHAPES.index(shape), list(COLORS).index("blue"), TEXTURES.index("plain"), 0.5, 0.5, 0.3, 0.0, (0.0, 0.0), 0.0
    )
    gray = (128, 128, 128)
    return Scene((replace(thing, **changes),), Background(((gray, gray), (gray, gray)), (), noise=1), main=0)


def center(ids: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(ids)
    return columns.mean() + 0.5, rows.mean() + 0.5


@pytest.fixture(scope="module")
def main_things() -> list[Thing]:
    return [drawn.things[drawn.main] for drawn in (scene(0, i) for i in range(5000))]


@pytest.mark.parametrize(("index", "size", "known"), KNOWN)
def test_an_image_is_the_same_bytes_in_every_process_and_on_every_machine(index, size, known):
    assert digest(index, size)[:16] == known


def test_the_sine_table_leaves_no_rounding_to_the_c_library():
    exact = np.sin(np.arange(TURN) * (2 * np.pi / TURN)) * ONE
    assert np.abs(np.abs(exact - np.floor(exact)) - 0.5).min() > 1e-6
    assert np.abs(SINE - exact).max() < 0.5


def test_a_scene_depends_on_seed_and_index_alone():
    backward = [scene(3, i) for i in reversed(range(20))][::-1]
    assert backward == [scene(3, i) for i in range(20)]
    assert len({scene(seed, index) for seed in range(10) for index in range(10)}) == 100


def test_rendering_leaves_no_trace_on_the_next_image():
    before = render(scene(0, 5), 48)[0]
    render(scene(0, 6), 48, time=3.0)
    np.testing.assert_array_equal(render(scene(0, 5), 48)[0], before)


def test_classes_are_balanced(main_things):
    counts = Counter(thing.shape for thing in main_things)
    assert set(counts) == set(range(len(SHAPES)))
    assert all(abs(count - 500) < 5 * np.sqrt(500 * 0.9) for count in counts.values())


def test_color_says_nothing_about_the_class(main_things):
    table = np.zeros((len(SHAPES), len(COLORS)))
    for thing in main_things:
        table[thing.shape, thing.color] += 1
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / len(main_things)
    freedom = (len(SHAPES) - 1) * (len(COLORS) - 1)
    # chi-squared: mean `freedom`, variance twice that
    assert ((table - expected) ** 2 / expected).sum() < freedom + 4 * np.sqrt(2 * freedom)


def test_the_main_thing_wears_the_texture_of_its_shape(main_things):
    assert all(thing.texture == thing.shape for thing in main_things)
    assert len(TEXTURES) == len(SHAPES)


def test_size_and_place_say_nothing_about_the_class(main_things):
    for field, spread in (("size", 0.3), ("x", 0.2), ("y", 0.2), ("angle", 60)):
        means = [
            np.mean([getattr(thing, field) for thing in main_things if thing.shape == k]) for k in range(len(SHAPES))
        ]
        assert np.ptp(means) < 0.15 * spread


def test_background_keeps_away_from_the_main_color():
    for i in range(300):
        drawn = scene(0, i)
        main = np.array(list(COLORS.values())[drawn.things[drawn.main].color])
        colors = np.array([*sum(drawn.background.grid, ()), *(patch.color for patch in drawn.background.patches)])
        assert np.abs(colors - main).max(1).min() >= 96
        assert colors.min() >= 0
        assert colors.max() <= 255


@pytest.mark.parametrize("texture", TEXTURES)
@pytest.mark.parametrize("color", COLORS)
def test_pixels_of_a_thing_show_its_color(color, texture):
    drawn = lone(size=0.8, angle=20.0, color=list(COLORS).index(color), texture=TEXTURES.index(texture))
    image, ids = render(drawn, 64)
    near = np.abs(image[ids == 1].astype(int) - COLORS[color]).max(1) <= 7
    assert near.mean() > (0.9 if texture == "plain" else 0.3)
    assert (np.abs(image[ids == 0].astype(int) - 128).max(1) <= 7).mean() > 0.9


def test_ids_name_the_thing_in_front():
    drawn = lone(size=0.6)
    front = replace(drawn.things[0], size=0.2, color=0)
    ids = render(replace(drawn, things=(*drawn.things, front)), 64)[1]
    assert ids[32, 32] == 2
    assert ids[32, 18] == 1
    assert ids[2, 2] == 0


def test_a_circle_covers_its_area():
    ids = render(lone("circle", size=0.5), 128)[1]
    assert (ids == 1).sum() == pytest.approx(np.pi * 32**2, rel=0.02)
    assert center(ids) == pytest.approx((64, 64), abs=0.1)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_thing_stays_within_the_circle_of_its_size(shape):
    for angle in range(0, 360, 45):
        rows, columns = np.nonzero(render(lone(shape, size=0.6, angle=angle), 128)[1])
        radius = np.hypot(columns + 0.5 - 64, rows + 0.5 - 64).max()
        assert 0.6 * 64 - 3 < radius < 0.6 * 64 + 1


def test_the_main_thing_dominates():
    for i in range(300):
        drawn = scene(0, i)
        ids = render(drawn, 64)[1]
        alone = render(replace(drawn, things=(drawn.things[drawn.main],)), 64)[1]
        visible = np.bincount(ids.ravel(), minlength=len(drawn.things) + 1)[1:]
        assert visible[drawn.main] > 0.06 * ids.size
        assert visible[drawn.main] > 0.8 * (alone == 1).sum()
        assert visible.argmax() == drawn.main


def test_motion_moves_the_center_by_velocity_times_time():
    moving = lone("circle", x=0.3, y=0.6, size=0.2, velocity=(0.2, -0.1))
    for time in (0.0, 0.5, 1.0, 2.0):
        x, y = center(render(moving, 128, time)[1])
        assert (x, y) == pytest.approx((128 * (0.3 + 0.2 * time), 128 * (0.6 - 0.1 * time)), abs=0.3)


def test_spin_turns_a_thing_clockwise():
    ids = render(lone("arrow", size=0.8, spin=90.0), 64, time=1.0)[1]
    np.testing.assert_array_equal(ids, render(lone("arrow", size=0.8, angle=90.0), 64)[1])
    # the arrow points right, then down: its widest row is in the lower half
    assert (ids == 1).sum(1).argmax() >= 32


def test_things_are_cut_off_at_the_border():
    leaving = lone("square", x=1.0, size=0.4)
    whole, half, gone = (
        render(replace(leaving, things=(replace(leaving.things[0], x=x),)), 64)[1] for x in (0.5, 1.0, 1.5)
    )
    assert half.sum() == pytest.approx(whole.sum() / 2, rel=0.1)
    assert gone.sum() == 0
    assert len(boxes(gone, leaving)[0]) == len(masks(gone, leaving)) == 0


def test_boxes_and_masks_hold_what_is_visible():
    for i in range(50):
        drawn = scene(0, i)
        ids = render(drawn, 64)[1]
        corners, labels = boxes(ids, drawn)
        seen = masks(ids, drawn)
        assert len(corners) == len(labels) == len(seen)
        for (left, top, right, bottom), mask in zip(corners.astype(int), seen, strict=True):
            assert mask[top:bottom, left:right].sum() == mask.sum()
            assert mask[top].any() and mask[bottom - 1].any() and mask[:, left].any() and mask[:, right - 1].any()


@pytest.mark.parametrize("size", [16, 33, 64, 512])
def test_every_size_shows_the_same_scene(size):
    image, ids = render(scene(0, 1), size)
    assert image.shape == (size, size, 3) and ids.shape == (size, size)
    assert image.dtype == ids.dtype == np.uint8
    main = scene(0, 1).main + 1
    large = render(scene(0, 1), 256)[1]
    assert np.array(center(ids == main)) / size == pytest.approx(np.array(center(large == main)) / 256, abs=0.02)


def test_a_share_of_the_main_things_wears_the_color_of_its_shape():
    """Expected share: 0.8, and a tenth of the others by chance; everything else about colors holds as before."""
    drawn = [scene(0, i, color_correlation=0.8) for i in range(2000)]
    mains = [still.things[still.main] for still in drawn]
    assert np.mean([thing.color == thing.shape for thing in mains]) == pytest.approx(0.82, abs=0.03)
    assert all(
        thing.color != main.color
        for still, main in zip(drawn, mains, strict=True)
        for thing in still.things
        if thing is not main
    )


def test_how_many_are_typical_is_a_share():
    with refuses(ConfigError, "data.color_correlation", 1.5, 0, 1):
        Shapes(color_correlation=1.5)


def test_a_class_knows_its_pixels_in_a_sample():
    data = Shapes(train=1, val=1, test=3, image_size=32)
    data.setup()
    source, _ = data.splits["test"]
    for index in range(3):
        name = SHAPES[source.labels[index]]
        mask = data.class_mask(source.id(index), name)
        drawn = scene(0, 20_000_000 + index)
        shapes = np.array(["", *(SHAPES[thing.shape] for thing in drawn.things)])
        assert mask.any() and np.array_equal(mask, shapes[render(drawn, 32)[1]] == name)
    assert not data.class_mask("test/000000", "real").any()
