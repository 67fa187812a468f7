"""Words of sentences to the user."""


def counted(count: int, noun: str) -> str:
    """A count with its noun, a plural: `1 image`, `2 images`, `1 class`."""
    one = noun.removesuffix("es") if noun.endswith(("sses", "xes")) else noun.removesuffix("s")
    return f"{count:,} {one if count == 1 else noun}"
