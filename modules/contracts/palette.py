"""Colors of classes, for figures and saved semantic maps."""

from colorsys import hsv_to_rgb

RGB = tuple[int, int, int]


def palette(count: int) -> list[RGB]:
    """The first `count` colors, up to 256, of Pascal VOC's color map: black, then far apart.

    The bits of the index go round: red, green and blue take every third one, the lowest as their highest.
    """
    return [tuple(_channel(index >> shift) for shift in range(3)) for index in range(count)]


def _channel(bits: int) -> int:
    return sum((bits >> 3 * place & 1) << 7 - place for place in range(8))


def vivid(count: int) -> list[RGB]:
    """That many colors, none dark or pale, neighbors far apart.

    The hue turns by the golden ratio, saturation and value take four turns.
    """
    kinds = ((0.9, 0.95), (0.5, 1.0), (0.95, 0.7), (0.6, 0.85))
    colors = (hsv_to_rgb(index * 0.618034 % 1, *kinds[index % len(kinds)]) for index in range(count))
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in colors]
