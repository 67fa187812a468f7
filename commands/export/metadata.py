"""Metadata of exported files: one JSON text under the key `graft`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from modules.contracts import DataError

KEY = "graft"
FORMAT = 1
"""Version of the keys; readers refuse higher ones."""

SETTINGS = {
    "image": {},
    "video": {"frames": int},
    "text": {"tokenizers": list, "search": dict},
    "noise": {"latent": int, "conditional": bool},
}
"""Settings that files of each kind have, and their types."""


def parsed(text: str | None, path: Path) -> dict[str, Any]:
    """Metadata of the file at `path`, from the text under `KEY`.

    Raises:
        DataError: the file is of another program, or of a later version of this one, or its metadata were changed.
    """
    try:
        found = json.loads(text or "")
        if found.keys() - {"export"} == {"outputs"}:
            raise DataError(f"{path} is one step of the decoder of an exported file: give the other, without .decoder")
        json.dumps(found, ensure_ascii=False).encode()  # names are written to files
        known = found["format"]
        if type(known) is not int:
            raise TypeError
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} was not written by `export`: it has no metadata {KEY!r}") from error
    if known > FORMAT:
        raise DataError(f"{path} is of a later version of this program (format {known}, {FORMAT} is known): update it")
    if strange := next(odd(found), None):
        raise DataError(f"{path} is not as `export` wrote it: {strange} in its metadata is missing or odd")
    return found


def odd(metadata: dict[str, Any]) -> Iterator[str]:
    """Names of the entries that are missing or of another type than `export` gives them."""
    for name, fits in FIELDS.items():
        if not fits(metadata.get(name)):
            yield name
    kind = metadata.get("kind", "image")
    if kind not in SETTINGS:
        yield "kind"
        return
    needs: dict[str, type] = SETTINGS[kind]
    for name, kinds in needs.items():
        if not isinstance(metadata["settings"].get(name), kinds):
            yield f"settings.{name}"
    if "search" in metadata["settings"] and "decoder" not in metadata["parts"]:
        yield "parts.decoder"


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _number(value: Any) -> bool:
    return type(value) in (int, float)


def _name(value: Any) -> bool:
    """True for the name of a file or folder that says no other place."""
    return isinstance(value, str) and Path(value).name == value and "\0" not in value


def _train(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), dict) for key in ("model", "data", "meaning"))


FIELDS: dict[str, Callable[[Any], bool]] = {
    "task": lambda value: isinstance(value, str),
    "classes": lambda value: value is None or _texts(value),
    "threshold": lambda value: value is None or all(map(_number, value if isinstance(value, list) else [value])),
    "outputs": lambda value: _texts(value) and bool(value),
    "settings": lambda value: isinstance(value, dict),
    "parts": lambda value: isinstance(value, dict) and all(map(_name, value.values())),
    "run": lambda value: isinstance(value, dict) and _name(value.get("name")) and type(value.get("epoch")) is int,
    "train": _train,
}
"""Entries that are read, and whether a value can be theirs."""
