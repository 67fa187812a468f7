"""Whole videos frame by frame, as images in order: to predict."""

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.sampler import DistributedSequentialSampler
from datamodules.video.source import VideoFiles
from datamodules.video.video_folder import Videos
from modules.contracts import Batch, ConfigError


class FrameBatches(Dataset):
    """Batches of consecutive frames of one video, in order, by key (epoch, number).

    Args:
        source: video files.
        rows: numbers of the videos in it.
        size: frames of a batch; the last of a video may have fewer.
    """

    def __init__(self, source: VideoFiles, rows: Sequence[int], size: int):
        self.source, self.size = source, size
        self.starts = [(row, start) for row in rows for start in range(0, len(source.times(row)), size)]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: tuple[int, int]) -> dict[str, Any]:
        row, start = self.starts[index[1]]
        times = self.source.times(row)[start : start + self.size]
        numbers = np.arange(start, start + len(times))
        return {"film": self.source.id(row), "numbers": numbers, "seconds": times, **self._frames(row, numbers)}

    def _frames(self, row: int, numbers: np.ndarray) -> dict[str, Any]:
        return {"image": self.source.frames(row, numbers, None)}


class VideoStream(Videos):
    """Every frame of all video files below a folder, whole and in order: to predict images, such as stylized videos.

    Batches have `image` uint8 (B, 3, H, W) of one video, its name as `film` and the `seconds` of each frame, float64.

    Args:
        root: the folder.
        batch_size: frames that are decoded and predicted together.
        workers: processes that load; 0 loads in the main process.
        on_error: a video that cannot be decoded: `raise` stops, `skip` leaves it out.

    Raises:
        ConfigError: the task sees squares or clips.
        DataError: no such folder, or no videos in it.
    """

    def __init__(self, root: str, batch_size: int = 8, workers: int = 2, on_error: Literal["raise", "skip"] = "raise"):
        super().__init__(root, batch_size=batch_size, workers=workers, on_error=on_error)

    def setup(self, stage: str | None = None) -> None:
        if stage != "predict" or not self.letterbox:
            raise ConfigError("VideoStream gives whole frames in order: it is for predict, by a task on whole images")
        super().setup(stage)

    def predict_dataloader(self) -> DataLoader:
        source, rows = self.splits[self.predicted]
        data = FrameBatches(cast(VideoFiles, source), [int(row) for row in rows], self.batch_size)
        return self._loader(data, DistributedSequentialSampler(len(data), 1, self._rank(), self._world()), batched=True)

    @staticmethod
    def collate(samples: Any) -> Batch:
        """One item of `FrameBatches`, which is a batch already, as tensors."""
        image = torch.from_numpy(np.ascontiguousarray(samples["image"])).permute(0, 3, 1, 2)
        sizes = torch.tensor([image.shape[-2:]] * len(image))
        film = samples["film"]
        names = [f"{film}/{number:06d}" for number in samples["numbers"].tolist()]
        seconds = torch.from_numpy(samples["seconds"])
        return {
            "image": image,
            "id": names,
            "film": [film] * len(names),
            "seconds": seconds,
            "size": sizes,
            "inside": sizes,
        }
