"""Rendering of scenes to pixels in integer arithmetic, so that every machine draws the same bytes.

Places are rounded to 1/64 pixel before anything is drawn. Silhouettes are drawn four times as large, for smooth edges.
cv2.fillPoly draws other edges before OpenCV 4.11 than since.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.synthetic.world import COLORS, SHAPES, TEXTURES, Background, Scene, Thing

TURN = 4096  # steps of the sine table in a full turn; libm's last bit vanishes in the rounding
ONE = 1 << 14  # 1.0 in the sine table and in the outlines
SINE = np.round(np.sin(np.arange(TURN) * (2 * np.pi / TURN)) * ONE).astype(np.int64)
FINE = 64  # units per pixel
OVER = 4  # silhouettes are drawn with OVER x OVER samples per pixel
FULL = OVER * OVER  # a wholly covered pixel
DOT = 320  # a dot's radius in 1/1024 of a texture's period
BLEND = 256  # steps between two colors of the background's grid
PALETTE = np.array(list(COLORS.values()), np.int16)[:, :, None, None]
# a texture's second color: light colors darken, dark ones lighten, so that both halves keep the name of the color
SHADES = np.where(
    PALETTE.sum(1, keepdims=True, dtype=np.int32) > 360, PALETTE * 5 // 9, PALETTE + (255 - PALETTE) * 4 // 9
).astype(np.int16)


def _arc(radius: float, start: float, stop: float, steps: int, x: float = 0, y: float = 0) -> list[tuple[float, float]]:
    """Points on a circle around (x, y), angles in turns, clockwise from the right."""
    turns = [start + (stop - start) * i / steps for i in range(steps + 1)]
    return [(x + radius * np.cos(2 * np.pi * t), y + radius * np.sin(2 * np.pi * t)) for t in turns]


def _heart() -> list[tuple[float, float]]:
    t = np.arange(48) * (2 * np.pi / 48)
    x, y = 16 * np.sin(t) ** 3, -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return list(zip(x, y - 2.5, strict=True))


def _star() -> list[tuple[float, float]]:
    tips, notches = _arc(1, -0.25, 0.75, 5)[:5], _arc(0.42, -0.15, 0.85, 5)[:5]
    return [point for pair in zip(tips, notches, strict=True) for point in pair]


# contours of each shape in any unit; a second contour is a hole
CONTOURS = {
    "circle": [_arc(1, 0, 1, 48)],
    "square": [[(-1, -1), (1, -1), (1, 1), (-1, 1)]],
    "triangle": [_arc(1, -0.25, 0.75, 3)[:3]],
    "star": [_star()],
    "cross": [
        [(-3, -1), (-1, -1), (-1, -3), (1, -3), (1, -1), (3, -1), (3, 1), (1, 1), (1, 3), (-1, 3), (-1, 1), (-3, 1)]
    ],
    "ring": [_arc(1, 0, 1, 48), _arc(0.56, 0, 1, 32)],
    "heart": [_heart()],
    # two arcs through the same two horns
    "crescent": [_arc(1, 0.1, 0.9, 40) + _arc(0.72, 0.852, 0.148, 28, x=0.39)],
    "arrow": [[(-10, -4), (0, -4), (0, -9), (10, 0), (0, 9), (0, 4), (-10, 4)]],
    "hourglass": [[(-6, -7), (6, -7), (1, 0), (6, 7), (-6, 7), (-1, 0)]],
}


def _outline(contours: list[list[tuple[float, float]]]) -> tuple[NDArray[np.int64], list[int]]:
    """Corners as integers (N, 2), the farthest ONE / 2 from the center, and where each further contour begins."""
    points = np.concatenate(contours)
    points = np.round(points * (ONE / 2 / np.sqrt((points**2).sum(1).max()))).astype(np.int64)
    return points, np.cumsum([len(c) for c in contours])[:-1].tolist()


OUTLINES = [_outline(CONTOURS[name]) for name in SHAPES]


def render(scene: Scene, size: int, time: float = 0.0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw `scene` as it is at `time`.

    Returns the image (size, size, 3), RGB, and the id map (size, size): 0 is background, i + 1 a visible pixel of
    `scene.things[i]`. Things that have moved out are cut off at the border. The background stands still.
    """
    image = _background(scene.background, size)
    ids = np.zeros((size, size), np.uint8)
    for i, thing in enumerate(scene.things, 1):
        _draw(thing, i, image, ids, time)
    return _noisy(image, scene.background.noise), ids


def film(still: Scene, moments: list[tuple[Thing, ...]], size: int) -> NDArray[np.uint8]:
    """Draw the things of each moment onto a scene that stands still: uint8 (T, size, size, 3), each with own noise."""
    ground, ids = _background(still.background, size), np.zeros((size, size), np.uint8)
    for thing in still.things:
        _draw(thing, 1, ground, ids, 0.0)
    frames = np.empty((len(moments), size, size, 3), np.uint8)
    for i, things in enumerate(moments):
        image = ground.copy()
        for thing in things:
            _draw(thing, 1, image, ids, 0.0)
        frames[i] = _noisy(image, still.background.noise + i)
    return frames


def boxes(ids: NDArray[np.uint8], scene: Scene) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Boxes (N, 4), xyxy in pixels, around the visible pixels of each thing, and the things' shapes (N,).

    A thing of which nothing is visible has no box.
    """
    seen = [i for i in range(len(scene.things)) if (ids == i + 1).any()]
    found = [np.nonzero(ids == i + 1) for i in seen]
    corners = [(x.min(), y.min(), x.max() + 1, y.max() + 1) for y, x in found]
    return np.array(corners, np.float32).reshape(-1, 4), np.array([scene.things[i].shape for i in seen], np.int64)


def masks(ids: NDArray[np.uint8], scene: Scene) -> NDArray[np.bool_]:
    """The visible pixels (N, H, W) of each thing that `boxes` lists."""
    every = ids == np.arange(1, len(scene.things) + 1, dtype=np.uint8)[:, None, None]
    return every[every.any((1, 2))]


def corners(thing: Thing, size: int, scale: float = 1.0) -> NDArray[np.float64]:
    """Corners (N, 2) of a thing's outline as drawn at time 0, x and y in pixels.

    Args:
        thing: of a scene.
        size: side of the image in pixels.
        scale: of the outline around its middle.
    """
    step = round(thing.angle * TURN / 360)
    sine, cosine = int(SINE[step % TURN]), int(SINE[(step + TURN // 4) % TURN])
    points = OUTLINES[thing.shape][0] @ np.array([[cosine, sine], [-sine, cosine]]) / ONE**2
    return (points * scale * thing.size + (thing.x, thing.y)) * size


def _background(background: Background, size: int) -> NDArray[np.int16]:
    """The image before any thing is on it, color planes first: (3, size, size)."""
    grid = np.array(background.grid, np.float64).transpose(2, 0, 1)
    weights = _bilinear(size, len(background.grid))
    planes = (weights @ grid @ weights.T / BLEND**2).astype(np.uint8)
    image = cv2.merge(tuple(planes))
    corners = np.rint(np.array([patch.corners for patch in background.patches]) * (size * 16)).astype(np.int32)
    for patch, quad in zip(background.patches, corners, strict=True):
        cv2.fillConvexPoly(image, quad, patch.color, cv2.LINE_AA, 4)
    return np.array(cv2.split(image), np.int16)


@lru_cache(maxsize=64)
def _bilinear(size: int, side: int) -> NDArray[np.float64]:
    """The share of each of `side` grid points in each of `size` pixels, in whole steps of 1/BLEND.

    Floats, because only they are fast in a matrix product; sums of whole numbers are exact in any order of adding.
    """
    position = np.arange(size) * ((side - 1) * BLEND) // (size - 1)
    return np.maximum(BLEND - np.abs(position[:, None] - np.arange(side) * BLEND), 0).astype(np.float64)


def _draw(thing: Thing, number: int, image: NDArray[np.int16], ids: NDArray[np.uint8], time: float) -> None:
    """Paint one thing onto the image (3, H, W) and its number onto the id map (H, W)."""
    side = len(ids)
    x, y = (round((at + by * time) * side * FINE) for at, by in zip((thing.x, thing.y), thing.velocity, strict=True))
    length = round(thing.size * side * FINE)
    left, top = (max((at - length // 2) // FINE, 0) for at in (x, y))
    right, bottom = (min((at + length // 2) // FINE + 1, side) for at in (x, y))
    if left >= right or top >= bottom:
        return
    x, y, width, height = x - left * FINE, y - top * FINE, right - left, bottom - top

    step = round((thing.angle + thing.spin * time) * TURN / 360)
    sine, cosine = int(SINE[step % TURN]), int(SINE[(step + TURN // 4) % TURN])
    points, holes = OUTLINES[thing.shape]
    turned = points @ np.array([[cosine, sine], [-sine, cosine]]) // ONE
    cover = _cover(turned * length // ONE + (x, y), holes, width, height)
    ids[top:bottom, left:right][cover >= FULL // 2] = number

    canvas = image[:, top:bottom, left:right]
    color = PALETTE[thing.color]
    if TEXTURES[thing.texture] != "plain":
        shade = _texture(TEXTURES[thing.texture], x, y, sine, cosine, length, width, height)
        color = color + ((SHADES[thing.color] - color) * shade >> 4)
    canvas += (color - canvas) * cover >> 4


def _cover(points: NDArray[np.int64], holes: list[int], width: int, height: int) -> NDArray[np.int16]:
    """Coverage of each pixel (height, width) by the contours, 0..FULL (antialiasing)."""
    silhouette = np.zeros((height * OVER, width * OVER), np.uint8)
    # cv2 puts whole numbers at pixel centers: half a sample (8 of 16 units) to the left of and above where ours are
    contours = np.split((points * (OVER * 16 // FINE) - 8).astype(np.int32), holes)
    cv2.fillPoly(silhouette, contours, 1, cv2.LINE_8, 4)
    # four rows added, then the four bytes of each word: the multiplication collects their sum in the top byte
    rows = silhouette.view(np.uint32).reshape(height, OVER, width)
    rows = rows[:, 0] + rows[:, 1] + rows[:, 2] + rows[:, 3]
    return (rows * np.uint32(0x01010101) >> np.uint32(24)).astype(np.int16)


def _texture(
    kind: str, x: int, y: int, sine: int, cosine: int, length: int, width: int, height: int
) -> NDArray[np.int16]:
    """The second color's share of each pixel (height, width), 0..FULL; the pattern turns and grows with the thing."""
    period = max(length // 5, 2 * FINE)
    columns, rows = np.arange(width) * FINE + FINE // 2 - x, np.arange(height) * FINE + FINE // 2 - y
    # distances to the nearest edge between two stripes along either axis of the thing, in 1/1024 of a period
    across = _wave(columns * cosine, rows * sine, period)
    down = _wave(columns * -sine, rows * cosine, period)
    if kind == "striped":
        edge = across
    elif kind == "barred":
        edge = across - 128
    elif kind == "grid":
        edge = np.maximum(across, down) - 128
    elif kind == "latticed":
        edge = (
            np.maximum(
                _wave(columns * (cosine + sine), rows * (sine - cosine), period),
                _wave(columns * (cosine - sine), rows * (sine + cosine), period),
            )
            - 96
        )
    elif kind == "halved":
        edge = (columns * cosine)[None] + (rows * sine)[:, None]
        edge = edge * 1024 // (period * ONE)
    elif kind == "zigzag":
        bend = _wave(columns * -sine, rows * cosine, 2 * period).astype(np.int64) * period // 512
        along = ((columns * cosine)[None] + (rows * sine)[:, None]) // ONE + bend
        edge = _fold(along * 4 * ONE // period)
    elif kind == "ringed":
        radius = np.sqrt((columns * columns)[None] + (rows * rows)[:, None]).astype(np.int64)
        edge = _fold(radius * 4 * ONE // period)
    elif kind == "checked":
        edge = np.maximum(np.minimum(across, down), -np.maximum(across, down))
    else:
        squares = (across.astype(np.int32) - 256) ** 2 + (down.astype(np.int32) - 256) ** 2
        edge = (DOT**2 - squares) // (2 * DOT)
    # soft over one pixel: clipped to half a pixel either side before the product, which keeps it within 16 bits
    half = 512 * FINE // period
    edge = np.minimum(np.maximum(edge, -half), half).astype(np.int16, copy=False)
    return (edge * (period // 4) >> 10) + FULL // 2


def _wave(columns: NDArray[np.int64], rows: NDArray[np.int64], period: int) -> NDArray[np.int16]:
    """A triangle wave (H, W), -256..256, of the sum of two coordinates given in units of 1/ONE."""
    # a period is 1 << 16 steps, so that the cast to 16 bits takes the remainder
    return _fold((rows * 4 // period).astype(np.int16)[:, None] + (columns * 4 // period).astype(np.int16))


def _fold(phase: NDArray[np.integer]) -> NDArray[np.int16]:
    """A triangle wave, -256..256, of a phase of which 1 << 16 steps are a period; the cast takes the remainder."""
    return np.abs(phase.astype(np.int16, copy=False) >> 6) - 256


def _noisy(image: NDArray[np.int16], key: int) -> NDArray[np.uint8]:
    """Add -7..7 to every value, small numbers more often, and put the colors last: (3, H, W) to (H, W, 3)."""
    words = np.random.Philox(key=[key, 0]).random_raw(image.size // 8 + 1).astype("<u8", copy=False)
    noise = words.view(np.uint8)[: image.size].reshape(image.shape)
    image += (noise & 7).view(np.int8) - (noise >> 5).view(np.int8)
    return cv2.merge(tuple(np.minimum(np.maximum(image, 0), 255).astype(np.uint8)))
