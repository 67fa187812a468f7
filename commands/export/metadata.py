"""Metadata of exported files: one JSON text under the key `graft`."""

import json
from pathlib import Path
from typing import Any

from modules.contracts import DataError

KEY = "graft"
FORMAT = 1
"""Version of the keys; readers refuse higher ones."""


def parsed(text: str | None, path: Path) -> dict[str, Any]:
    """Metadata of the file at `path`, from the text under `KEY`.

    Raises:
        DataError: the file is of another program, or of a later version of this one.
    """
    try:
        found = json.loads(text or "")
        if found.keys() == {"outputs"}:
            raise DataError(f"{path} is one step of the decoder of an exported file: give the other, without .decoder")
        known = found["format"]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path} was not written by `export`: it has no metadata {KEY!r}") from error
    if known > FORMAT:
        raise DataError(f"{path} is of a later version of this program (format {known}, {FORMAT} is known): update it")
    return found
