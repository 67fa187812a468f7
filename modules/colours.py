"""The colours of classes where the data names none."""


def palette(classes: int) -> list[tuple[int, int, int]]:
    """The colour map of Pascal VOC (Everingham et al. 2010): one RGB colour per class, up to 256 different ones.

    The lowest three bits of a class's index become the highest bits of red, green and blue, the next three the second
    highest, and so on, so that neighbouring classes differ most.
    """
    return [tuple(_channel(index >> shift) for shift in range(3)) for index in range(classes)]


def _channel(bits: int) -> int:
    """Every third bit, from the lowest on, as a byte from its highest bit down."""
    return sum((bits >> 3 * place & 1) << 7 - place for place in range(3))
