"""Figures that may be missing, as people and files read them."""

import math


def number(value: float, form: str = ".4f") -> str:
    """A figure as text; "n/a" where it is nan: nothing was there to judge."""
    return "n/a" if math.isnan(value) else f"{value:{form}}"


def or_null(value: float) -> float | None:
    """A figure for a JSON file, which knows neither nan nor infinity."""
    return value if math.isfinite(value) else None


def or_nan(value: float | None) -> float:
    """What `or_null` wrote."""
    return math.nan if value is None else value
