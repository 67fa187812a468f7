"""Train-test leakage: the same image in two splits, found by content, not by name."""

import hashlib
from collections import defaultdict
from functools import cache
from itertools import combinations
from pathlib import Path

SHOWN = 3  # pairs in a sentence

Listed = list[tuple[Path, int]]
"""Files, each with a number that differs where size or last bytes of two files do."""


def shared_images(splits: dict[str, Listed]) -> dict[tuple[str, str], list[tuple[Path, Path]]]:
    """Pairs of files with equal bytes, by the two splits that they are in; only what may be equal is read."""
    places: dict[int, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for split, files in splits.items():
        for path, number in files:
            places[number][split].append(path)
    found = defaultdict(list)
    for by_split in places.values():
        for a, b in combinations(by_split, 2):
            known = {_content(path): path for path in reversed(by_split[a])}
            found[a, b] += [(known[key], path) for path in by_split[b] if (key := _content(path)) in known]
    _content.cache_clear()
    return {splits: pairs for splits, pairs in found.items() if pairs}


def report(shared: dict[tuple[str, str], list[tuple[Path, Path]]], root: Path) -> list[str]:
    """A warning for each two splits that share images."""
    lines = []
    for (a, b), pairs in shared.items():
        said = ", ".join(f"{_short(x, root)} = {_short(y, root)}" for x, y in pairs[:SHOWN])
        more = f" and {len(pairs) - SHOWN:,} more" if len(pairs) > SHOWN else ""
        lines.append(
            f"warning: {len(pairs):,} of the images of {b} occur in {a} too, by content ({said}{more}): metrics on "
            f"{b} are better than they should be (leakage)"
        )
    return lines


@cache
def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
