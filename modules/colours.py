"""Colours of classes, for pictures that are drawn and semantic maps that are saved."""

RGB = tuple[int, int, int]


def palette(count: int) -> list[RGB]:
    """The first `count` colours, up to 256, of Pascal VOC's colour map: black, then far apart.

    The bits of the index go round: red, green and blue take every third one, the lowest as their highest.
    """
    return [tuple(_channel(index >> shift) for shift in range(3)) for index in range(count)]


def _channel(bits: int) -> int:
    return sum((bits >> 3 * place & 1) << 7 - place for place in range(8))
