"""Reading of checkpoints: tensors and plain values only, intact, and of the form that a training saves."""

import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modules.contracts import DataError, regular

KINDS = {
    "epoch": int,
    "global_step": int,
    "state_dict": dict,
    "hyper_parameters": dict,
    "datamodule_hyper_parameters": dict,
    "loops": dict,
    "callbacks": dict,
    "backbone": dict,
    "teacher": dict,
    "task": str,
    "unsaved": list,
    "optimizer_states": list,
    "lr_schedulers": list,
    "pytorch-lightning_version": str,
}
INSIDE = {
    "hyper_parameters": {"_class_path": str},
    "datamodule_hyper_parameters": {"_class_path": str},
    "backbone": {"prefix": str, "name": str, "small_images": bool, "mean": list, "std": list},
    "loops": {"fit_loop": dict},
    "teacher": {"source": str, "hash": str},
}
"""Types of the entries of a checkpoint, where it has them, and of what is in some of these."""


def read_checkpoint(path: Path, mapped: bool = False) -> dict[str, Any]:
    """Read a Lightning checkpoint; tensors and plain values only, so that nothing in the file can run.

    Tensors of a `mapped` one are read when they are used. `epoch` is the index of the last epoch that began.

    Raises:
        DataError: the file is no checkpoint, is cut short or damaged, holds pickled objects, or values of other types
            than a training saves.
    """
    checkpoint = read_plain(path, mapped)
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise DataError(f"{path} is not a checkpoint: it has no state_dict")
    _check_kinds(checkpoint, KINDS, path)
    for key, kinds in INSIDE.items():
        _check_kinds(checkpoint.get(key, {}), kinds, path, f"{key}.")
    if strange := next((k for k, v in checkpoint["state_dict"].items() if not isinstance(v, Tensor)), None):
        raise _odd(path, f"state_dict.{strange}", checkpoint["state_dict"][strange])
    if progress := checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_progress"):
        try:
            checkpoint["epoch"] = progress["current"]["ready"] - 1  # Lightning's is one higher once `fit` has returned
        except (KeyError, TypeError) as error:
            raise _odd(path, "loops.fit_loop.epoch_progress", progress) from error
    return checkpoint


def run_file(source: str) -> Path:
    """The checkpoint of a run directory, the best one where it has one, or a file.

    Raises:
        DataError: there is none.
    """
    path = Path(source).expanduser()
    inside = (path / "checkpoints" / name for name in ("averaged.ckpt", "best.ckpt", "last.ckpt"))
    found = next((file for file in (path, *inside) if file.is_file()), None)
    if found is None:
        raise DataError(f"no checkpoint at {source}: expected a run directory or a .ckpt")
    return found


def read_run(source: str) -> dict[str, Any]:
    """The checkpoint of `run_file`, read.

    Raises:
        DataError: there is none, and as `read_checkpoint`.
    """
    return read_checkpoint(run_file(source))


def read_plain(path: Path, mapped: bool = False) -> Any:
    """Read what `torch.save` wrote: tensors and plain values only.

    Raises:
        DataError: the file cannot be read, is cut short or damaged, or holds pickled objects.
    """
    try:
        content = torch.load(regular(path), map_location="cpu", weights_only=True, mmap=mapped)
        state = path.stat()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # the unpickler raises a dozen types for a dozen kinds of garbage
        said = "is not a checkpoint of plain tensors (cut short, or it holds code): it was not loaded"
        raise DataError(f"{path} {said}") from error
    if damaged := _damaged(path, state.st_ino, state.st_size, state.st_mtime_ns):
        raise DataError(
            f"{path} is damaged: {damaged} does not have the checksum that was saved with it; copy the file again, or "
            f"take another checkpoint of the run"
        )
    return content


@cache
def _damaged(path: Path, *state: int) -> str | None:
    """Name of the first part of a file whose checksum is wrong, which torch does not look at; null for none.

    Args:
        path: the file, which is read at about 1 GB/s.
        state: what changes when it is written: it is read once.
    """
    if not zipfile.is_zipfile(path):  # as torch before 1.6 wrote: no checksums
        return None
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip()
    except Exception:  # also of headers, each damage by its own type
        return "a header"


def _check_kinds(values: dict[str, Any], kinds: dict[str, type], path: Path, prefix: str = "") -> None:
    for key, kind in kinds.items():
        if key in values and not isinstance(values[key], kind):
            raise _odd(path, f"{prefix}{key}", values[key])


def _odd(path: Path, name: str, value: Any) -> DataError:
    said = " ".join(repr(value).split())
    return DataError(
        f"{path} is not as a training saves it: its {name} is {said[:60]}{'...' * (len(said) > 60)}; take another "
        f"checkpoint"
    )
