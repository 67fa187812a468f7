"""Probe of videos: every file is opened once; the frame index is cached for the next run."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from datamodules.cache import cached, digest, stamp
from datamodules.depth import find_span
from datamodules.duplicates import Listed, tail
from datamodules.finding import find_images
from datamodules.inspection import inspect
from datamodules.split_data import first_clauses
from datamodules.video.index import Index, read_index
from datamodules.video.source import FrameFolders, VideoFiles

ANNOUNCED_VIDEOS = 500  # videos that take long enough to say so


def video_files(root: Path, paths: np.ndarray, labels: np.ndarray | None) -> VideoFiles:
    """Video files below `root`, with their frame indices."""
    files = [root / os.fsdecode(path) for path in paths]
    rows = _all("videos", files, [stamp_of(file) for file in files], _video)
    wrong = {i: row for i, row in enumerate(rows) if isinstance(row, str)}
    indices = [None if isinstance(row, str) else Index.of_json(row) for row in rows]
    return VideoFiles(root, paths, labels, wrong, indices)


def frame_folders(root: Path, paths: np.ndarray, labels: np.ndarray | None, rate: float | None) -> FrameFolders:
    """Folders of frames below `root`, with the count and shape of their images."""
    folders = [root / os.fsdecode(path) for path in paths]
    rows = _all("frames", folders, [stamp_of(folder) for folder in folders], _folder)
    wrong = {i: row for i, row in enumerate(rows) if isinstance(row, str)}
    facts = np.array([(0, 0, 0) if isinstance(row, str) else row for row in rows], np.int64).reshape(-1, 3)
    return FrameFolders(root, paths, labels, wrong, facts[:, 0], facts[:, 1:], rate)


def tails(paths: list[Path]) -> Listed:
    """Videos, each with a number that tells most of them apart; the numbers are cached on disk."""
    key = digest(part for path in paths for part in (path, stamp_of(path)))
    return list(zip(paths, cached("tails", key, lambda: [tail(path) for path in paths]), strict=True))


def _all(name: str, paths: list[Path], stamps: list[str], read: Callable[[Path], Any]) -> list[Any]:
    def compute() -> list[Any]:
        if len(paths) >= ANNOUNCED_VIDEOS:
            rank_zero_info(f"  opening {len(paths):,} videos, this once")
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            return list(threads.map(read, paths))

    return cached(name, digest([*paths, *stamps]), compute)


def stamp_of(path: Path) -> str:
    """Fingerprint of a file, or of the images of a folder, without reading them."""
    if path.is_dir():
        return digest(stamp_of(file) for file in find_images(path))
    return stamp(path) if path.exists() else f"{path.absolute()} is missing"


def _video(path: Path) -> list[Any] | str:
    found = read_index(path)
    return found if isinstance(found, str) else found.json()


def _folder(path: Path) -> list[int] | str:
    """Count, height and width of the frames, or the problem with them."""
    files = find_images(path)
    if not files:
        return "has no images" if path.is_dir() else "is missing"
    found = [inspect(file) for file in files]
    broken = [f"{file.name} {row.problem}" for file, row in zip(files, found, strict=True) if row.problem]
    if broken:
        return f"has {len(broken):,} images that cannot be used, {first_clauses(broken)}"
    span, _ = find_span(found, None)
    if span and span not in ((0.0, 65535.0), (0.0, 1.0)):
        deep = next(row for row in found if row.depth)
        return f"has frames of {deep.depth}, whose values {span[0]:,.6g} to {span[1]:,.6g} are not scaled: write 8 bits"
    return [len(files), *found[0].shape]
