"""Hash of a teacher's weights in its student's checkpoints: it is saved nowhere, and may be another one later."""

from pathlib import Path
from typing import Any

from modules.contracts import DataError


def save_teacher(checkpoint: dict[str, Any], source: str, weights: str) -> None:
    """Note the source of a teacher and the fingerprint of its weights, empty before they are read, in a checkpoint."""
    if weights:
        checkpoint["teacher"] = {"source": source, "hash": weights}


def check_teacher(checkpoint: dict[str, Any], source: str, weights: str, option: str) -> None:
    """Refuse a teacher that has changed since a checkpoint; one of another source was typed, and is said elsewhere.

    Args:
        checkpoint: of the student.
        source: of the teacher now.
        weights: its fingerprint now; empty before they are read.
        option: that names the source.

    Raises:
        DataError: other weights lie at the same place.
    """
    known = checkpoint.get("teacher")
    if known and weights not in ("", known["hash"]) and same_source(known["source"], source):
        raise DataError(
            f"{option} {source} has other weights than those that the student has learned from: put these back, or "
            f"give the new ones by another path"
        )


def same_source(first: str, second: str) -> bool:
    """True for equal sources of weights, and for paths that lead to the same place."""
    return first == second or Path(first).expanduser().resolve() == Path(second).expanduser().resolve()
