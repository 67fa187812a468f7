"""Prediction files written in parts by every process and merged by the first one in the order of the data."""

import csv
import heapq
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
from torch import Tensor

from callbacks.writers.base import Writer
from modules.contracts import writing


class Table(Writer):
    """CSV file with one row per sample, the first column its id, written batch by batch.

    Args:
        path: final name.
        rank: of this process.
        columns: their names.

    Attributes: `names` are the entries of the first column: of this process, and after `merge` of all.
    """

    def __init__(self, path: Path, rank: int, columns: Sequence[str]) -> None:
        self.path = path
        self.names: list[str] = []
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._part = open_text(_part(path, rank), "w")
            self._rows = csv.writer(self._part)
            self._rows.writerow(columns)

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        with writing(self.path):
            for name, *rest in rows:
                self._rows.writerow([*([] if self.turn is None else [self.turn]), name, *rest])
                self.names.append(name)

    def close(self) -> None:
        with writing(self.path):
            self._part.close()

    def discard(self) -> None:
        self._part.close()
        Path(self._part.name).unlink(missing_ok=True)

    def merge(self, world: int) -> list[Path]:
        parts = _parts(self.path, world)
        with writing(self.path):
            if world == 1:
                parts[0].replace(self.path)
                return [self.path]
            partial = self.path.with_name(f"{self.path.name}.tmp")
            with ExitStack() as stack:
                rows = csv.writer(stack.enter_context(open_text(partial, "w")))
                readers = [csv.reader(stack.enter_context(open_text(part, "r"))) for part in parts]
                header, *_ = map(next, readers)
                rows.writerow(header)
                self.names.clear()
                for _, *row in heapq.merge(*readers, key=lambda row: int(row[0])):
                    rows.writerow(row)
                    self.names.append(row[0])
            partial.replace(self.path)
            for part in parts:
                part.unlink()
        return [self.path]


class Arrays(Writer):
    """Npz file of `ids`, `features` (N, D) and optionally `labels` (N,), collected in memory.

    Args:
        path: final name.
        rank: of this process.
    """

    def __init__(self, path: Path, rank: int) -> None:
        self.path = path
        self.rank = rank
        self._batches: dict[str, list[np.ndarray]] = {"ids": [], "features": [], "labels": [], "turns": []}

    def write(self, ids: list[str], features: Tensor, labels: Tensor | None) -> None:
        self._batches["ids"].append(np.array(ids))
        self._batches["features"].append(features.float().cpu().numpy())
        if labels is not None:
            self._batches["labels"].append(labels.cpu().numpy())
        if self.turn is not None:
            self._batches["turns"].append(np.full(len(ids), self.turn))

    def close(self) -> None:
        arrays = {name: np.concatenate(batches) for name, batches in self._batches.items() if batches}
        _save(_part(self.path, self.rank), arrays)

    def merge(self, world: int) -> list[Path]:
        paths = _parts(self.path, world)
        if world > 1:
            parts = [dict(np.load(path)) for path in paths]
            arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            order = arrays.pop("turns").argsort(kind="stable")
            _save(paths[0], {name: array[order] for name, array in arrays.items()})
        with writing(self.path):
            paths[0].replace(self.path)
            for path in paths[1:]:
                path.unlink()
        return [self.path]


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:  # an open file, because a name without the ending .npz would be given one
            np.savez(file, **arrays)


def _part(path: Path, rank: int) -> Path:
    return path.with_name(f"{path.name}.{rank}.tmp")


def _parts(path: Path, world: int) -> list[Path]:
    return [part for rank in range(world) if (part := _part(path, rank)).exists()]


def open_text(path: Path, mode: str) -> IO[str]:
    """Open a UTF-8 text file; surrogateescape, because file names on Linux are bytes and need not be valid UTF-8."""
    return path.open(mode, newline="", encoding="utf-8", errors="surrogateescape")
