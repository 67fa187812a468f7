"""Datasets of video clips, and their collate function."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from datamodules.augment import Augment
from datamodules.samples import ImageDataset, readable
from datamodules.video.sampling import Sampling, timeline
from datamodules.video.source import Clips
from modules.contracts import Batch

START = 1  # separates the draws of a clip's frames from those of its augmentation, which have the shorter key


@dataclass(frozen=True)
class RandomClip:
    """Clips of each video in training: the frames, one crop and one draw of colors of each, by (seed, epoch, index)."""

    sampling: Sampling
    augment: Augment
    side: int
    seed: int
    views_each: int = 1

    def steps(self, count: int, epoch: int, index: int) -> np.ndarray:
        keys = [(self.seed, epoch, index, START, *self._more(view)) for view in range(self.views_each)]
        return np.concatenate([self.sampling.train(count, np.random.default_rng(key)) for key in keys])

    def views(self, clips: np.ndarray, epoch: int, index: int) -> np.ndarray:
        made = [self.augment(clip, self.seed, epoch, index, *self._more(view)) for view, clip in enumerate(clips)]
        return np.stack(made)

    def _more(self, view: int) -> tuple[int, ...]:
        """End of the key of a view; the first has none, as the only clip of a video."""
        return (1 + view,) if view else ()


@dataclass(frozen=True)
class FixedViews:
    """Multi-view evaluation: the same clips of a video every time, `crops` squares of each along its longer side."""

    sampling: Sampling
    crops: int
    side: int

    def steps(self, count: int, epoch: int, index: int) -> np.ndarray:
        return self.sampling.evaluate(count)

    def views(self, clips: np.ndarray, epoch: int, index: int) -> np.ndarray:
        height, width = clips.shape[2:4]
        places = np.linspace(0, 1, self.crops) if self.crops > 1 else [0.5]
        corners = [(int((height - self.side) * place), int((width - self.side) * place)) for place in places]
        cut = [clips[:, :, top : top + self.side, left : left + self.side] for top, left in corners]
        return np.stack(cut, 1).reshape(-1, *cut[0].shape[1:])


class VideoDataset(ImageDataset):
    """Samples as dicts, by key (epoch, row): `video` uint8 (V, T, H, W, 3), `id`, `label`.

    Of a video that cannot be decoded only `skipped`, its id, when `skip`.
    """

    def __init__(self, source: Clips, indices: np.ndarray, make: RandomClip | FixedViews, skip: bool):
        super().__init__(source, indices, [], 0, skip)  # `make` has the seed
        self.make = make

    def content(self, epoch: int, row: int, index: int) -> dict[str, Any]:
        return {"video": self._video(epoch, index)}

    def _video(self, epoch: int, index: int) -> np.ndarray:
        shown = timeline(self.source.times(index), self.make.sampling.fps)
        wanted = shown[self.make.steps(len(shown), epoch, index)]
        unique, places = np.unique(wanted, return_inverse=True)
        frames = self.source.frames(index, unique, self.make.side)
        return self.make.views(frames[places.reshape(wanted.shape)], epoch, index)


def collate(samples: list[dict[str, Any]]) -> Batch:
    """Stack the readable samples: `video` uint8 (B V, 3, T, H, W), the V views of a video one after the other.

    `label` (B,), `id`.
    """
    samples, batch = readable(samples, "video")
    video = torch.from_numpy(np.concatenate([s["video"] for s in samples]))
    batch["video"] = video.permute(0, 4, 1, 2, 3)  # stays channels_last_3d in memory, which is faster
    if "label" in samples[0]:
        batch["label"] = torch.tensor([s["label"] for s in samples])
    return batch
