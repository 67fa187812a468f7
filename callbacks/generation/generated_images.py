"""Figures of generated images: fixed noise over epochs, latent interpolations, rows of classes."""

from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from callbacks.collectors.base import arrays, rgb
from callbacks.figures.generated import named_rows, tiles
from callbacks.figures.log import log_figure
from callbacks.results.metrics import check_generative
from modules.contracts import ConfigError, writing
from modules.gan import to_bytes

COLUMNS = 8  # of the grid
WALKS, STEPS = 8, 9  # between two noises each
CLASSES, EACH = 20, 8  # rows of classes at most, and images in each
SECONDS, LAST = 6, 1500  # of the time-lapse; milliseconds that its last image stands


class GeneratedImages(Callback):
    """Draw generated images of fixed noise before training and after every epoch, and as an animation at the end.

    Files: `figures/generated.png`, one per epoch in `figures/generated/`, and `figures/generated.gif`; at the end also
    latent interpolations (`generated_walks.png`) and, of a conditional generator, rows of the classes with the same
    noise in each column (`generated_classes.png`).

    Args:
        every: epochs between two grids.
    """

    def __init__(self, every: int = 1) -> None:
        if every < 1:
            raise ConfigError(f"GeneratedImages: every is {every}, but it counts epochs from 1")
        self.every = every

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_generative(pl_module, self)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0:
            self._grid(trainer, pl_module, 0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epochs = trainer.current_epoch + 1
        if epochs % self.every == 0 or epochs == trainer.max_epochs:
            self._grid(trainer, pl_module, epochs)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self._grid(trainer, pl_module, trainer.current_epoch)  # early stopping and max_steps end anywhere
        write_film(_folder(trainer), _folder(trainer).with_suffix(".gif"))
        log_figure(trainer, "generated_walks", walks(pl_module))
        if pl_module.condition:
            log_figure(trainer, "generated_classes", classes(pl_module))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            log_figure(trainer, "test_generated", _drawn(pl_module))

    def _grid(self, trainer: Trainer, task: LightningModule, epochs: int) -> None:
        if not trainer.is_global_zero:
            return
        image, path = _drawn(task), _folder(trainer) / f"epoch_{epochs:04d}.png"
        log_figure(trainer, "generated", image)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


def write_film(folder: Path, path: Path) -> None:
    """Write all images of a folder, in order of their names, as an endless GIF that pauses on the last one."""
    frames = [Image.open(file).convert("RGB") for file in sorted(folder.glob("*.png"))]
    pace = [min(400, max(40, 1000 * SECONDS // len(frames)))] * (len(frames) - 1)
    with writing(path):
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=[*pace, LAST], loop=0)


def slerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Spherical linear interpolation between two noise vectors (D,), (steps, D) (White 2016).

    Points on the straight line would be shorter than any noise of the training.
    """
    angle = torch.acos((normalize(start, dim=0) @ normalize(end, dim=0)).clamp(-1, 1))
    place = torch.linspace(0, 1, steps, device=start.device)[:, None]
    if angle.sin() < 1e-6:
        return torch.lerp(start, end, place)
    return (((1 - place) * angle).sin() * start + (place * angle).sin() * end) / angle.sin()


def walks(task: LightningModule) -> np.ndarray:
    """Latent interpolations, one per row, each of one class for a conditional generator."""
    noise = task.fixed_noise
    paths = [slerp(noise[2 * i], noise[2 * i + 1], STEPS) for i in range(min(WALKS, len(noise) // 2))]
    label = None
    if task.condition:
        label = (torch.arange(len(paths), device=noise.device) % len(task.classes)).repeat_interleave(STEPS)
    return tiles(_made(task, torch.cat(paths), label), STEPS)


def classes(task: LightningModule) -> np.ndarray:
    """A row of images per class, all rows of the same noise."""
    names, noise = task.classes[:CLASSES], task.fixed_noise[:EACH]
    label = torch.arange(len(names), device=noise.device).repeat_interleave(len(noise))
    made = _made(task, noise.repeat(len(names), 1), label)
    rows = [made[i : i + len(noise)] for i in range(0, len(made), len(noise))]
    return named_rows(rows, names, "Generated, row by row of one class, column by column of the same noise")


def _drawn(task: LightningModule) -> np.ndarray:
    noise = task.fixed_noise
    label = torch.arange(len(noise), device=noise.device) % len(task.classes) if task.condition else None
    return tiles(_made(task, noise, label), COLUMNS)


def _made(task: LightningModule, noise: Tensor, label: Tensor | None) -> list[np.ndarray]:
    return arrays(rgb(to_bytes(task.images(noise, label))))


def _folder(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir) / "figures" / "generated"
