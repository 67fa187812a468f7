"""A few samples of a split, evenly spread, and what a network sees of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from modules.contracts import Batch


def evenly(count: int, most: int) -> np.ndarray:
    """Up to `most` of the numbers 0..count-1, evenly spread: of data sorted by class about the same share of each."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def shots(batch: Batch) -> Tensor:
    """Images uint8 (B, 3, H, W), or the middle view of each video, (B, 3, T, H, W)."""
    if "image" in batch:
        return batch["image"]
    views = batch["video"].unflatten(0, (len(batch["id"]), -1))
    return views[:, views.shape[1] // 2]


def arrays(image: Tensor) -> list[np.ndarray]:
    """uint8 (B, 3, H, W) as B images (H, W, 3); (B, 3, T, H, W) as B clips (T, H, W, 3); one channel is repeated."""
    image = image.expand(-1, 3, *image.shape[2:]) if image.shape[1] == 1 else image
    return list(image.movedim(1, -1).cpu().numpy())


def picked(batch: Batch, rows: Sequence[int]) -> Batch:
    """Rows of a batch, whose tensors and lists have one entry per sample."""
    return {
        key: value[list(rows)] if isinstance(value, Tensor) else [value[i] for i in rows]
        for key, value in batch.items()
    }


def chosen(data: Any, split: str, count: int) -> tuple[np.ndarray, Batch]:
    """Rows of up to `count` samples of a split, and their batch in uint8: images, or the middle view of each video."""
    source = data.dataset(split, "evaluate" if data.letterbox else "plain")
    rows = evenly(len(source), count)
    batch = data.collate([source[(0, int(row))] for row in rows])
    data.on_before_batch_transfer(batch, 0)
    return rows, batch | {"video": shots(batch)} if "video" in batch else batch


def seen(batch: Batch, data: Any, task: Any) -> Batch:
    """A batch in uint8 on the device, as `Task.target_score` takes it."""
    moved = data.transfer_batch_to_device(dict(batch), task.device, 0)
    for key in ("image", "video"):
        if key in moved and task.backbone is not None:
            moved[key] = task.backbone.normalize(moved[key]).to(task.dtype)
    return task.network_input(moved)
