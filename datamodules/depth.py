"""Value range of images of more than 8 bits: the values that become black and white, one pair for all files."""

from collections.abc import Sequence

from datamodules.decoding import Span
from datamodules.inspection import Inspection
from modules.contracts import DataError

BITS = (8, 10, 12, 14, 16)  # usual depths of cameras, microscopes and scanners, stored in 16 bits


def find_span(files: Sequence[Inspection], asked: Span | None) -> tuple[Span | None, list[str]]:
    """Value range: the values that become 0 and 255, one pair for all files; and sentences for the startup summary.

    Whole numbers are taken for as many bits as hold the highest of all files, floats for 0..1 or 0..255 if none lies
    outside; all others are stretched from the lowest to the highest value. Null where all files have 8 bits.

    Args:
        files: all that can be used.
        asked: the pair that the user set; null to find one.

    Raises:
        DataError: files of several depths, whose values cannot be compared.
    """
    deep = [file for file in files if file.depth]
    lines = []
    if several := sum(file.several for file in files):
        lines.append(f"{several:,} files hold several frames, of which the first is seen")
    if not deep:
        return None, lines
    kinds = sorted({file.depth for file in deep})
    if len(kinds) > 1 and not asked:
        raise DataError(
            f"images of {' and of '.join(kinds)} are in one data set, whose values cannot be compared: write them in "
            f"one type, or say with --data.value_range which values become black and white"
        )
    low, high = min(file.low for file in deep), max(file.high for file in deep)
    span = asked or _span(kinds[0], low, high, max(file.top for file in deep))
    lines.append(
        f"{len(deep):,} images of {' and '.join(kinds)} with values from {low:,.6g} to {high:,.6g}: {span[0]:,.6g} "
        f"becomes black and {span[1]:,.6g} white (data.value_range)"
    )
    return span, lines


def _span(kind: str, low: float, high: float, top: int) -> Span:
    if kind.startswith("float"):
        if low >= 0 and high <= 255:
            return (0.0, 1.0) if high <= 1 else (0.0, 255.0)
    elif low >= 0 and high < 1 << BITS[-1]:
        return 0.0, float(top or next((1 << bits) - 1 for bits in BITS if high < 1 << bits))
    return low, high if high > low else low + 1
