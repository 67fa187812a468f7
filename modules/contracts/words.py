"""Words of sentences to the user."""

from pathlib import Path


def counted(count: int, noun: str) -> str:
    """A count with its noun, a plural: `1 image`, `2 images`, `1 class`."""
    one = noun.removesuffix("es") if noun.endswith(("sses", "xes")) else noun.removesuffix("s")
    return f"{count:,} {one if count == 1 else noun}"


def from_here(path: Path) -> Path:
    """A path relative to the working directory where it lies below, as run directories are printed."""
    path, here = path.resolve(), Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
