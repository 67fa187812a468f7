"""Value range of images of more than 8 bits: the values that become black and white, one pair for all files."""

from collections.abc import Sequence

from datamodules.decoding import Span, float_span
from datamodules.inspection import Inspection
from modules.contracts import DataError

BITS = (1, 2, 4, 8, 10, 12, 14, 16)  # usual depths of cameras, microscopes and scanners, stored in 16 bits


def find_span(
    files: Sequence[Inspection], asked: Span | None, trained: Sequence[str] = ()
) -> tuple[Span | None, list[str]]:
    """Value range: the values that become 0 and 255, one pair for all files; and sentences for the startup summary.

    Whole numbers are taken for as many bits as hold the highest of all files, floats for 0..1 or 0..255 if they reach
    that far and not beyond; all others are stretched from the lowest to the highest value. Null where all files have
    8 bits.

    Args:
        files: all that can be used.
        asked: the pair that the user set, or a checkpoint handed on; null to find one.
        trained: depths of the training images that a handed-on pair belongs to; empty if the user set the pair.

    Raises:
        DataError: files of several depths, whose values cannot be compared; or of another depth than `trained`.
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
    if asked and trained and (others := [kind for kind in kinds if kind not in trained]):
        raise DataError(
            f"data.value_range is [{asked[0]:g}, {asked[1]:g}], as the checkpoint has it for "
            f"{' and '.join(trained)}, but these images are {' and '.join(others)} with values from {low:,.6g} to "
            f"{high:,.6g}: set --data.value_range to the values that become black and white, or to null to find them"
        )
    span = asked or _span(kinds[0], low, high, max(file.top for file in deep))
    lines.append(
        f"{len(deep):,} images of {' and '.join(kinds)} with values from {low:,.6g} to {high:,.6g}: {span[0]:,.6g} "
        f"becomes black and {span[1]:,.6g} white (data.value_range)"
        + ("; values beyond them are clipped" if low < span[0] or high > span[1] else "")
    )
    return span, lines


def _span(kind: str, low: float, high: float, top: int) -> Span:
    if kind.startswith("float"):
        if span := float_span(low, high):
            return span
    elif low >= 0 and high < 1 << BITS[-1]:
        return 0.0, float(top or next((1 << bits) - 1 for bits in BITS if high < 1 << bits))
    return low, high if high > low else low + 1
