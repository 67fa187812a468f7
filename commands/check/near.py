"""Near duplicates of a data module's samples: images and videos that look alike, sentences that read alike."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info

from commands.check.files import inspection
from commands.check.findings import Item, splits_of
from datamodules.cache import cached_tensors, digest
from datamodules.image_files import ImageFilesData
from datamodules.near_duplicates import SIDE, Near, near_duplicates, read_thumbnail, thumbnail
from datamodules.text.near_sentences import near_sentences
from datamodules.text.text_data import TextData
from datamodules.video.near_videos import FRAMES, frame_thumbnails, near_videos
from datamodules.video.probe import ANNOUNCED_VIDEOS, stamp_of
from datamodules.video.video_data import VideoDataModule
from modules.contracts import DataError


class Copy(NamedTuple):
    """Two samples of equal or similar content; the first is the one to keep: that of test, else val, else the first.

    Args:
        similarity: 1 for identical bytes or text; else of their thumbnails.
        kind: `identical`, `similar` or `mirrored`.
    """

    first: Item
    second: Item
    similarity: float
    kind: str

    @property
    def splits(self) -> tuple[str, str]:
        return self.first.split, self.second.split


def thumbnails_of(data: ImageFilesData | VideoDataModule, items: Sequence[Item]) -> tuple[np.ndarray, np.ndarray]:
    """Gray thumbnails of images, uint8 (N, SIDE, SIDE), or videos, (N, FRAMES, SIDE, SIDE), and those that fail.

    Those of files are cached for the next run on the same files.

    Returns:
        Thumbnails, and true for samples that cannot be decoded, bool (N,); their thumbnails are black.
    """
    shape = (FRAMES, SIDE, SIDE) if isinstance(data, VideoDataModule) else (SIDE, SIDE)

    def look(item: Item) -> tuple[np.ndarray, bool]:
        try:
            return _thumbnail(data, item), False
        except DataError:
            return np.zeros(shape, np.uint8), True

    def compute() -> dict[str, torch.Tensor]:
        if isinstance(data, VideoDataModule) and len(items) >= ANNOUNCED_VIDEOS:
            rank_zero_info(f"  decoding {FRAMES} frames of each of {len(items):,} videos, this once")
        with ThreadPoolExecutor(cpu_count()) as threads:
            shown, wrong = zip(*threads.map(look, items), strict=True)
        return {"thumbnails": torch.from_numpy(np.stack(shown)), "failed": torch.tensor(wrong)}

    if any(item.path is None for item in items):
        found = compute()
    else:
        key = digest([data.hparams.get("value_range"), shape, *(stamp_of(item.path) for item in items)])
        found = cached_tensors("thumbnails", key, compute)
    return found["thumbnails"].numpy(), found["failed"].numpy()


def _thumbnail(data: ImageFilesData | VideoDataModule, item: Item) -> np.ndarray:
    source, _ = splits_of(data)[item.split]
    if isinstance(data, VideoDataModule):
        return frame_thumbnails(source, item.row)
    if item.path is None:
        return thumbnail(source.image(item.row))
    found = inspection(data, item)
    return thumbnail(source.image(item.row)) if found.depth else read_thumbnail(item.path, found.shape)


def similar(items: Sequence[Item], thumbnails: np.ndarray, groups: Iterable[list[Item]]) -> list[Copy]:
    """Pairs that look alike and are not identical, of identical ones the first alone; the most similar first."""
    kept = _first(items, groups)
    search = near_duplicates if thumbnails.ndim == 3 else near_videos
    return _pairs([items[i] for i in kept], search(thumbnails[kept]))


def similar_sentences(data: TextData, items: Sequence[Item], groups: Iterable[list[Item]]) -> list[Copy]:
    """Pairs of lines in two splits that read alike on both sides and are not identical; the most similar first."""
    kept = [items[i] for i in _first(items, groups)]
    sides = {split: source.sides() for split, (source, _) in splits_of(data).items()}
    shared = min(map(len, sides.values()))
    texts = [[sides[item.split][k][1][item.row] for item in kept] for k in range(shared)]
    numbers = {split: number for number, split in enumerate(sides)}
    found = near_sentences(texts, np.array([numbers[item.split] for item in kept]))
    return _pairs(kept, [Near(*pair, False) for pair in found])


def _first(items: Sequence[Item], groups: Iterable[list[Item]]) -> list[int]:
    """Indices of the items without those that equal an earlier one."""
    again = {(item.split, item.row) for group in groups for item in group[1:]}
    return [i for i, item in enumerate(items) if (item.split, item.row) not in again]


def _pairs(items: Sequence[Item], found: Iterable[Near]) -> list[Copy]:
    pairs = [
        Copy(items[n.first], items[n.second], n.similarity, "mirrored" if n.mirrored else "similar") for n in found
    ]
    return sorted(pairs, key=lambda copy: -copy.similarity)
