"""Scenes of the built-in world: numbers drawn from (seed, index), no pixels. `render.py` draws them.

Lengths and positions are fractions of the image's side, x to the right and y down; angles are degrees, clockwise.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

T = TypeVar("T")
RGB = tuple[int, int, int]

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "crescent", "arrow", "hourglass")
COLORS: dict[str, RGB] = {
    "red": (214, 40, 40),
    "orange": (245, 130, 32),
    "yellow": (250, 218, 60),
    "green": (48, 160, 64),
    "turquoise": (64, 205, 200),
    "blue": (40, 84, 210),
    "purple": (128, 50, 165),
    "pink": (248, 130, 185),
    "brown": (120, 72, 36),
    "white": (245, 245, 245),
}
# the texture that each shape wears by nature, in the order of SHAPES
TEXTURES = ("dotted", "checked", "striped", "plain", "grid", "ringed", "zigzag", "barred", "halved", "latticed")


@dataclass(frozen=True)
class Thing:
    """One shape. `shape`, `color` and `texture` index SHAPES, COLORS and TEXTURES.

    `size` is the diameter of the smallest circle around (x, y) that holds the shape; `velocity` and `spin` are what one
    unit of time adds to (x, y) and to `angle`.
    """

    shape: int
    color: int
    texture: int
    x: float
    y: float
    size: float
    angle: float
    velocity: tuple[float, float]
    spin: float


@dataclass(frozen=True)
class Patch:
    """One quadrilateral of background clutter: its corners (x, y) and its color."""

    corners: tuple[tuple[float, float], ...]
    color: RGB


@dataclass(frozen=True)
class Background:
    """Background of a scene. `grid`: k x k colors spread smoothly over the image (k = 2 is a gradient, 6 is cloudy).

    `patches` lie on top of it, back to front; `noise` seeds the pixel noise.
    """

    grid: tuple[tuple[RGB, ...], ...]
    patches: tuple[Patch, ...]
    noise: int


@dataclass(frozen=True)
class Scene:
    """A scene: `things` back to front; `things[main]` is the subject, whose shape is the class."""

    things: tuple[Thing, ...]
    background: Background
    main: int


class SeededRandom:
    """The random numbers of sample `index`; `unit` is uniform in [0, 1)."""

    def __init__(self, seed: int, index: int) -> None:
        self.unit: Callable[[], float] = _units(np.random.Philox(key=[seed, index])).__next__

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.unit()

    def below(self, n: int) -> int:
        """Uniform in 0..n-1."""
        return int(n * self.unit())

    def choice(self, options: tuple[T, ...]) -> T:
        return options[self.below(len(options))]


def scene(
    seed: int,
    index: int,
    extras: tuple[int, int] = (1, 4),
    main_size: tuple[float, float] = (0.55, 0.85),
    extra_size: tuple[float, float] = (0.15, 0.25),
    color_correlation: float = 0.0,
) -> Scene:
    """Draw scene `index` of world `seed`: one main thing near the middle among `extras` (fewest, most) small ones.

    Everything follows from the arguments alone. The main thing wears the texture of its shape, small ones wear any.
    Color, place, motion and background are independent of the shape and of each other, except that extras and
    background avoid the main thing's color, and that what would hide much of the main thing lies behind it; and that
    a share `color_correlation` of the main things wear the color of their shape, as bananas are yellow.
    """
    random = SeededRandom(seed, index)
    size = random.uniform(*main_size)
    jitter = 0.05 + 0.15 * (1 - size)  # the larger, the nearer to the middle: never cut off
    place = (0.5 + random.uniform(-jitter, jitter), 0.5 + random.uniform(-jitter, jitter))
    main = _thing(random, random.below(len(COLORS)), place, size, random.uniform(-30, 30))
    main = replace(main, texture=main.shape)
    if color_correlation and random.unit() < color_correlation:
        main = replace(main, color=main.shape)
    behind: list[Thing] = []
    before: list[Thing] = []
    for _ in range(extras[0] + random.below(extras[1] - extras[0] + 1)):
        size = random.uniform(*extra_size)
        spots = [(random.uniform(0.05, 0.95), random.uniform(0.05, 0.95)) for _ in range(4)]
        place = max(spots, key=lambda spot: min(_clearance(spot, size, thing) for thing in (main, *behind, *before)))
        color = (main.color + 1 + random.below(len(COLORS) - 1)) % len(COLORS)
        thing = _thing(random, color, place, size, random.uniform(-180, 180))
        front = random.unit() < 0.5 and _clearance(place, size, main) > -0.06
        (before if front else behind).append(thing)
    background = _background(random, list(COLORS.values())[main.color])
    return Scene(things=(*behind, main, *before), background=background, main=len(behind))


def _units(philox: np.random.Philox) -> Iterator[float]:
    """Uniform numbers in [0, 1) from Philox's raw output: a stream that NumPy promises never to change."""
    while True:
        # 53 bits fit a float64 exactly; in blocks, because a call per number would cost more than drawing the image
        yield from ((philox.random_raw(256) >> np.uint64(11)) * 2.0**-53).tolist()


def _thing(random: SeededRandom, color: int, place: tuple[float, float], size: float, angle: float) -> Thing:
    return Thing(
        shape=random.below(len(SHAPES)),
        color=color,
        texture=random.below(len(TEXTURES)),
        x=place[0],
        y=place[1],
        size=size,
        angle=angle,
        velocity=(random.uniform(-0.3, 0.3), random.uniform(-0.3, 0.3)),
        spin=random.uniform(-90, 90),
    )


def _clearance(place: tuple[float, float], size: float, thing: Thing) -> float:
    """The gap between two enclosing circles; negative where they overlap."""
    # sqrt is the same to the last bit everywhere; hypot and ** 0.5 depend on the C library
    dx, dy = place[0] - thing.x, place[1] - thing.y
    return math.sqrt(dx * dx + dy * dy) - (size + thing.size) / 2


def _background(random: SeededRandom, avoid: RGB) -> Background:
    """Clutter in shades of one tint, as under a colored lamp; independent of the things."""
    tint = tuple(random.uniform(0.2, 1.0) for _ in range(3))
    palette = tuple(_shade(random, tint, avoid) for _ in range(4))
    side = random.choice((2, 3, 4, 6))
    grid = tuple(tuple(random.choice(palette) for _ in range(side)) for _ in range(side))
    patches = tuple(Patch(_corners(random), _shade(random, tint, avoid)) for _ in range(3 + random.below(6)))
    return Background(grid, patches, noise=random.below(2**53))


def _shade(random: SeededRandom, tint: tuple[float, ...], avoid: RGB) -> RGB:
    """A light or dark version of `tint` that differs from `avoid` by at least 96 in some channel."""
    brightest = max(tint)
    light = 50 + random.below(186)
    color = tuple(int(light * part / brightest) for part in tint)
    if max(abs(mine - other) for mine, other in zip(color, avoid, strict=True)) < 96:
        color = tuple(value * 2 // 5 if light > 140 else 255 - (255 - value) * 2 // 5 for value in color)
    if max(abs(mine - other) for mine, other in zip(color, avoid, strict=True)) < 96:
        color = tuple((other + 96 + random.below(65)) % 256 for other in avoid)
    return color


def _corners(random: SeededRandom) -> tuple[tuple[float, float], ...]:
    """A long bar or an irregular quadrilateral: clutter that is none of SHAPES."""
    x, y = random.unit(), random.unit()
    quadrants = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    if random.unit() < 0.5:
        dx, dy = random.uniform(-0.7, 0.7), random.uniform(-0.7, 0.7)
        slim = random.uniform(0.015, 0.07)
        return tuple((x + a * dx - b * dy * slim, y + a * dy + b * dx * slim) for a, b in quadrants)
    return tuple((x + a * random.uniform(0.02, 0.25), y + b * random.uniform(0.02, 0.25)) for a, b in quadrants)
