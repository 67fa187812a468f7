"""Disk cache of slow computations about data, in `${XDG_CACHE_HOME:-~/.cache}/graft/`."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

T = TypeVar("T")


def cached(name: str, key: str, compute: Callable[[], Any]) -> Any:
    """Result of `compute`, cached on this machine by its key; it has to be plain JSON.

    A cache that cannot be read or written only costs the time.

    Args:
        name: of the result, one word.
        key: a digest of all that the result depends on.
    """

    def write(result: Any) -> bytes:
        return json.dumps(result, separators=(",", ":")).encode()

    return _kept(f"{name}-{key}.json", json.loads, write, compute)


def cached_tensors(name: str, key: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Result of `compute`, a dict of tensors, cached like `cached`; a cached one is on the CPU."""

    def write(result: dict[str, Tensor]) -> bytes:
        return safetensors.torch.save({k: tensor.detach().contiguous().cpu() for k, tensor in result.items()})

    return _kept(f"{name}-{key}.safetensors", safetensors.torch.load, write, compute)


def _kept(name: str, read: Callable[[bytes], T], write: Callable[[T], bytes], compute: Callable[[], T]) -> T:
    path = folder() / name
    with suppress(OSError, ValueError, SafetensorError):
        return read(path.read_bytes())
    result = compute()
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(write(result))
        partial.replace(path)
    return result


def digest(parts: Iterable[object]) -> str:
    """SHA-256 of the parts' texts in this order, shortened to 32 digits."""
    state = hashlib.sha256()
    for part in parts:
        state.update(f"{part}\n".encode("utf-8", "surrogateescape"))
    return state.hexdigest()[:32]


def stamp(path: Path) -> str:
    """Fingerprint of a file without reading it: path, size and time of change."""
    status = path.stat()
    return f"{path.absolute()} {status.st_size} {status.st_mtime_ns}"


def folder() -> Path:
    """Folder of all caches: graft in $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "graft"  # noqa: PTH111  never raises
