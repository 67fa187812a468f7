"""Numbers that may be missing, formatted for tables and files."""

import math


def number(value: float, form: str = ".4f") -> str:
    """A number as text; "n/a" where it is nan: nothing was there to judge."""
    return "n/a" if math.isnan(value) else f"{value:{form}}"


def or_null(value: float) -> float | None:
    """A number for a JSON file, which knows neither nan nor infinity."""
    return value if math.isfinite(value) else None


def or_nan(value: float | None) -> float:
    """What `or_null` wrote."""
    return math.nan if value is None else value


def duration(seconds: float) -> str:
    """A span of time as people say it: 8 s, 2 min 5 s, 3 h 20 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
