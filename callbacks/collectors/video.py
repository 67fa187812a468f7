"""Collector for video classification: strips of frames with occlusion sensitivity, animations."""

import re
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor

from callbacks.collectors.base import arrays, visible
from callbacks.collectors.chosen import evenly
from callbacks.collectors.classification import ClassificationCollector
from callbacks.figures.base import RIGHT, WRONG, shorten
from callbacks.figures.strips import strips, swatch
from modules.contracts import Backbone, Batch, writing

SHOWN = 8  # frames of a strip at most
HEIGHT = 96  # pixels of a frame in a strip, about
BAR = 26  # pixels of the highest bar below a frame
LOSS = (214, 96, 30)
PACE = 125  # milliseconds that an animation shows each frame


class VideoCollector(ClassificationCollector):
    """Collect predictions `{label, scores}` of videos with a `label`; the middle view is drawn."""

    noun = "videos"
    paired = 2

    def inputs(self, batch: Batch, task: LightningModule) -> dict[str, Tensor]:
        views = batch["video"].unflatten(0, (len(batch["id"]), -1))
        return {"video": visible(views[:, views.shape[1] // 2], task.backbone)}

    def write(self, folder: Path, stage: str, task: LightningModule) -> None:
        super().write(folder, stage, task)
        rows = self.sample.kept()
        for path in (folder / f"{stage}_clips").glob("*.gif"):
            path.unlink()  # of an earlier epoch
        answers = zip(rows["video"], rows["true"].tolist(), rows["predicted"].tolist(), strict=True)
        for number, (clip, true, predicted) in enumerate(answers):
            name = f"{number:02}_{_plain(task.classes[predicted])}_true_{_plain(task.classes[true])}.gif"
            write_animation(folder / f"{stage}_clips" / name, clip, RIGHT if true == predicted else WRONG)

    def answers(
        self, rows: dict[str, Tensor], task: LightningModule, title: str, suspected: bool = False
    ) -> np.ndarray:
        captions = self.captions(rows, cast(list[str], task.classes), 24, 60, suspected)
        shown = _shown(rows["video"].shape[2])
        losses = occlusion(task, rows["video"], rows["predicted"], shown) if captions else []
        panels = [_panels(clip, shown, loss) for clip, loss in zip(rows["video"], losses, strict=True)]
        legend = [("what the answer loses when the frame is hidden, most = full height", swatch(LOSS))]
        return strips(panels, [f"frame {i + 1}" for i in shown], captions, legend, title)


def occlusion(task: LightningModule, video: Tensor, answer: Tensor, frames: list[int]) -> np.ndarray:
    """Occlusion sensitivity over time: loss of log-probability when one frame is hidden (Zeiler & Fergus 2014).

    A hidden frame has the mean color.

    Args:
        task: answers normalized clips with logits, or by a file.
        video: uint8 (B, 3, T, H, W).
        answer: int64 (B,), the classes whose log-probability is compared.
        frames: indices of the frames that are hidden, one at a time.

    Returns:
        (B, len(frames)), losses divided by the largest of each clip, 0..1; all 0 where hiding no frame lowers it.
    """
    training, device = task.training, task.backbone.mean.device
    video, answer = video.to(device), answer.to(device)[:, None]
    log_probabilities = _by_a_file if getattr(task, "answered", False) else _by_the_network
    task.eval()
    with torch.no_grad():
        said = [log_probabilities(task, video, i).gather(1, answer) for i in ([], *([i] for i in frames))]
    task.train(training)
    losses = (said[0] - torch.cat(said[1:], 1)).clamp_(min=0)
    return (losses / losses.amax(1, keepdim=True).clamp_(min=1e-6)).cpu().numpy()


def _by_the_network(task: Any, video: Tensor, hidden: list[int]) -> Tensor:
    """Log-probabilities (B, C) of clips uint8 (B, 3, T, H, W), some of whose frames have the mean color."""
    clips = task.backbone.normalize(video)
    hide = torch.tensor(hidden, dtype=torch.int64, device=clips.device)
    return task(clips.index_fill(2, hide, 0)).float().log_softmax(1)


def _by_a_file(task: Any, video: Tensor, hidden: list[int]) -> Tensor:
    """The same by the exported file that answers in place of the network, which has its initial weights then."""
    clips, color = video.clone(), (255 * task.backbone.mean).round().to(video.dtype)
    clips[:, :, hidden] = color.view(-1, 1, 1, 1)
    found = task.predict_step({"video": clips, "id": [str(i) for i in range(len(clips))]}, 0)
    return found["scores"].to(video.device).float().clamp_min(torch.finfo(torch.float32).tiny).log()


def draw_clips(batch: Batch, samples: int, backbone: Backbone, data: LightningDataModule) -> np.ndarray:
    """First clips of a batch as strips of frames, V of each video, with their class where it is known."""
    clips = visible(batch["video"][:samples], backbone)
    shown = _shown(clips.shape[2])
    labels = batch["label"].repeat_interleave(len(batch["video"]) // len(batch["label"])) if "label" in batch else []
    labels = [int(label) for label in labels[: len(clips)]]
    captions = [shorten(data.classes[label], 40) for label in labels] or [""] * len(clips)
    panels = [_panels(clip, shown) for clip in clips]
    return strips(
        panels, [f"frame {i + 1}" for i in shown], captions, [], "First training batch as the network sees it"
    )


def write_animation(path: Path, clip: Tensor, color: str) -> None:
    """Write a clip uint8 (3, T, H, W) as an endless GIF with a colored border."""
    from PIL import Image, ImageOps

    frames = [ImageOps.expand(Image.fromarray(_sized(f, 2 * HEIGHT)), 4, color) for f in arrays(clip.transpose(0, 1))]
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=PACE, loop=0)


def _shown(frames: int) -> list[int]:
    """Frames of a strip, spread evenly over the clip, its first and last among them."""
    return evenly(frames, SHOWN).tolist()


def _panels(clip: Tensor, shown: list[int], losses: np.ndarray | None = None) -> list[np.ndarray]:
    """Frames of a clip uint8 (3, T, H, W), each above the bar of its loss."""
    panels = [_sized(frame, HEIGHT) for frame in arrays(clip[:, shown].transpose(0, 1))]
    if losses is None:
        return panels
    bars = [np.full((BAR, panel.shape[1], 3), 255, np.uint8) for panel in panels]
    for bar, loss in zip(bars, losses, strict=True):
        bar[BAR - 1 - round((BAR - 3) * float(loss)) :] = LOSS  # a line at least, so that the strip has a floor
    return [np.concatenate(pair) for pair in zip(panels, bars, strict=True)]


def _sized(frame: np.ndarray, height: int) -> np.ndarray:
    """Resize a frame (H, W, 3) to about that height; small ones by whole factors, with sharp pixels."""
    factor = round(height / frame.shape[0])
    if factor >= 1:
        return frame.repeat(factor, axis=0).repeat(factor, axis=1)
    width = max(1, round(frame.shape[1] * height / frame.shape[0]))
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def _plain(name: str) -> str:
    """A class name as part of a file name."""
    return re.sub(r"[^\w-]+", "_", name)[:40]
