"""Fields of COCO's json as other tools write them: numbers as text, flags as words, points in pairs."""

from typing import Any


def integer(value: Any) -> Any:
    """An id, or a side in pixels, as int also where it is written as text or float; anything else as it is."""
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.removeprefix("-").isdecimal() else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def real(value: Any) -> Any:
    """A number that may be written as text; anything else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def flag(value: Any) -> bool:
    """A field as bool: true for 1, true, yes, also as text in any case."""
    return value.strip().lower() in ("1", "1.0", "true", "yes") if isinstance(value, str) else bool(value)


def is_flat(box: Any) -> bool:
    """True for a `bbox` without area, so that the outline counts: missing, empty, or with a side of zero (xywh)."""
    if not box:
        return True
    sides = [real(part) for part in box] if isinstance(box, list) else []
    return len(sides) == 4 and all(isinstance(part, int | float) for part in sides) and min(sides[2:]) == 0


def outline(value: Any) -> Any:
    """A `segmentation`: polygons as lists of x, y, x, y, ... also where one stands alone or its points come in pairs.

    Run lengths with a size of numbers; anything else as it is.
    """
    if isinstance(value, dict):
        size = value.get("size")
        return value | {"size": [integer(side) for side in size]} if isinstance(size, list) else value
    if not isinstance(value, list) or not value:
        return value
    if not any(isinstance(part, list) for part in value):
        return [value]  # one polygon, not in a list
    if len(value) > 2 and all(_is_point(part) for part in value):
        return [[axis for point in value for axis in point]]
    return [_flat(polygon) for polygon in value]


def _is_point(part: Any) -> bool:
    return isinstance(part, list) and len(part) == 2 and not any(isinstance(axis, list) for axis in part)


def _flat(polygon: Any) -> Any:
    pairs = isinstance(polygon, list) and polygon and all(_is_point(point) for point in polygon)
    return [axis for point in polygon for axis in point] if pairs else polygon
