"""What took long to find out about data, kept as JSON for the next run in `${XDG_CACHE_HOME:-~/.cache}/graft/`."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any


def cached(name: str, key: str, compute: Callable[[], Any]) -> Any:
    """What `compute` returned for this key, on this machine, at some time; it has to be plain JSON.

    A cache that cannot be read or written only costs the time.

    Args:
        name: what it is, in one word.
        key: a digest of all that the result follows from.
    """
    path = folder() / f"{name}-{key}.json"
    with suppress(OSError, ValueError):
        return json.loads(path.read_text())
    result = compute()
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(result, separators=(",", ":")))
        partial.replace(path)
    return result


def digest(parts: Iterable[object]) -> str:
    """A short name for the parts' texts in this order."""
    state = hashlib.sha256()
    for part in parts:
        state.update(f"{part}\n".encode("utf-8", "surrogateescape"))
    return state.hexdigest()[:32]


def stamp(path: Path) -> str:
    """A file's path, size and time of change: when it changes, so does this."""
    status = path.stat()
    return f"{path.absolute()} {status.st_size} {status.st_mtime_ns}"


def folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "graft"  # noqa: PTH111  never raises
