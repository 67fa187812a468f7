"""Formatting of numbers, which may be nan or missing, for tables and files."""

import math

import numpy as np


def number(value: float, form: str = ".4f") -> str:
    """A number as text; "n/a" for nan."""
    return "n/a" if math.isnan(value) else f"{value:{form}}"


def bounds(low: float, high: float) -> str:
    """An interval as text, with two digits of its width: [.701, .782]."""
    width = high - low
    digits = min(4, max(0, 2 - math.ceil(math.log10(width)))) if width > 0 else 4
    return f"[{', '.join(_bare(f'{end:.{digits}f}') for end in (low, high))}]"


def _bare(text: str) -> str:
    """0.70 without its first zero."""
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def short(value: float) -> float:
    """The number that a file shows: a float32 without the digits that only its conversion to 64 bits has."""
    with np.errstate(over="ignore"):
        single = np.float32(value)
    return float(str(single)) if float(single) == value else float(value)


def or_null(value: float) -> float | None:
    """A number for a JSON file, which knows neither nan nor infinity."""
    return value if math.isfinite(value) else None


def or_nan(value: float | None) -> float:
    """The inverse of `or_null`: nan for null."""
    return math.nan if value is None else value


def duration(seconds: float) -> str:
    """A duration as text: 8 s, 2 min 5 s, 3 h 20 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
