"""Features of whole splits, computed once, and the samples behind them."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from lightning.pytorch import Trainer
from rich.progress import track
from torch import Tensor

from callbacks.collectors.chosen import arrays, shots
from callbacks.collectors.embedding import embed
from callbacks.summary import CONSOLE
from datamodules import DataModule, UnlabeledImages, Videos, VideoStream
from datamodules.base import Purpose, Split
from modules.contracts import Batch, writing
from tasks import Task

T = TypeVar("T")
CHUNK = 64  # samples that are decoded together


class Embedded(NamedTuple):
    """A split: features float32 (N, D), labels int64 (N,) or null, and N ids."""

    features: Tensor
    labels: Tensor | None
    ids: list[str]


def set_up_samples(data: DataModule, task: Task) -> None:
    """Set up data whose samples are looked at: the splits of `test`, but all samples of files without labels.

    Pretraining has learned from such files, so that it keeps to their splits.
    """
    unlabeled = isinstance(data, UnlabeledImages | Videos) and not isinstance(data, VideoStream)
    data.prepare_data()
    data.setup("predict" if unlabeled and not task.pretraining else "test")


def embed_split(split: Split, trainer: Trainer, task: Task) -> Embedded:
    """Features of all images of a split, not augmented; unreadable ones are counted and left out."""
    data, ids = trainer.datamodule, []

    def noted() -> Iterator[Batch]:
        for batch in shown(data.plain_dataloader(split), f"features of {split}", trainer):
            ids.extend(batch["id"])
            yield data.on_before_batch_transfer(batch, 0)

    return Embedded(*embed(noted(), trainer, task), ids)


def shown(batches: Sequence[T], words: str, trainer: Trainer) -> Iterable[T]:
    """The same, under a progress bar where the trainer has one."""
    hidden = trainer.progress_bar_callback is None
    return track(batches, words, console=CONSOLE, transient=True, disable=hidden or not CONSOLE.is_terminal)


def samples(data: DataModule, split: Split, purpose: Purpose, rows: Iterable[int], epoch: int = 0) -> Iterator[Batch]:
    """Batches of chosen samples, as `epoch` would draw them."""
    source, rows = data.dataset(split, purpose), list(rows)
    for start in range(0, len(rows), CHUNK):
        yield data.collate([source[(epoch, int(row))] for row in rows[start : start + CHUNK]])


def as_batch(shown: Tensor) -> Batch:
    """A batch of images (B, 3, H, W) or clips (B, 3, T, H, W) without labels."""
    return {"video" if shown.ndim == 5 else "image": shown}


def stills(shown: Tensor) -> Tensor:
    """Images as they are, the middle frames of clips: (B, 3, H, W)."""
    return shown[:, :, shown.shape[2] // 2] if shown.ndim == 5 else shown


def image(data: DataModule, split: Split, embedded: Embedded, row: int) -> np.ndarray:
    """The image uint8 (H, W, 3), or middle frame, behind a row of features; rows shift where samples were left out."""
    source, name = data.dataset(split, "plain"), embedded.ids[row]
    found = (source[(0, index)] for index in range(row, len(source)))
    return arrays(stills(shots(data.collate([next(sample for sample in found if sample.get("id") == name)]))))[0]


def save(path: Path, splits: dict[Split, Embedded]) -> None:
    """Writes `<split>_features`, `<split>_labels` where known, and `<split>_ids` as one npz file."""
    content = {}
    for split, (features, labels, ids) in splits.items():
        content[f"{split}_features"] = features.cpu().numpy()
        content[f"{split}_ids"] = np.array(ids)
        if labels is not None:
            content[f"{split}_labels"] = labels.cpu().numpy()
    partial = path.with_suffix(".tmp")
    with writing(path), partial.open("wb") as file:
        np.savez(file, **content)
        partial.replace(path)
