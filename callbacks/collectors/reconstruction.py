"""Collector for auto-encoders: reconstructions, latent interpolations and latent traversals."""

from collections.abc import Iterator

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor

from callbacks.collectors.base import Collector, arrays, name_bytes, name_text, rgb, visible
from callbacks.figures.base import shorten_start
from callbacks.figures.generated import enlarged, tiles
from callbacks.figures.strips import strips
from modules.contracts import Batch, Prediction
from modules.gan import to_bytes

STEPS = 9  # of a walk, ends included
NUMBERS = 8  # dimensions of the code that are swept
REACH = 2.5  # standard deviations, to either side


class ReconstructionCollector(Collector):
    """Collect predictions `{reconstruction, code}`, with noise also `seen`; the worst have the largest error."""

    def update(self, batch: Batch, outputs: Prediction, task: LightningModule, first: int) -> None:
        image, made = visible(batch["image"], task.backbone), rgb(outputs["reconstruction"])
        error = (image.float() - made.float()).div_(127.5).square().mean((1, 2, 3))
        rows = {"image": image, "made": made, "code": outputs["code"], "error": error}
        rows["name"] = name_bytes(batch["id"]).to(error.device, non_blocking=True)
        rows |= {"seen": rgb(outputs["seen"])} if "seen" in outputs else {}
        self.keep(rows, error, first)

    def draw(self, stage: str, task: LightningModule, data: LightningDataModule) -> Iterator[tuple[str, np.ndarray]]:
        sample = self.sample.kept()
        yield "reconstructions", beside(sample, f"{stage}: images and their reconstructions")
        yield "worst_reconstructions", beside(self.worst.kept(), f"{stage}: images of the largest error")
        if len(sample["code"]) > 1:  # of one image there is no other and no spread
            yield "latent_interpolations", between(sample, task)
            yield "latent_traversals", sweeps(sample["code"], task)
        if task.beta is not None:
            yield "generated", tiles(arrays(rgb(to_bytes(task.images(task.fixed_noise)))), 8)


def beside(rows: dict[str, Tensor], title: str) -> np.ndarray:
    """Strips of image, noisy input where there is noise, and reconstruction, with the error."""
    parts = {"image": "image", "noisy": "seen", "made": "made"}
    columns = {heading: enlarged(arrays(rows[key])) for heading, key in parts.items() if key in rows}
    named = zip(rows["error"].tolist(), rows["name"].numpy(), strict=True)
    captions = [f"error {error:.4f}\n{shorten_start(name_text(name), 40)}" for error, name in named]
    return strips(list(zip(*columns.values(), strict=True)), list(columns), captions, [], title)


@torch.no_grad()
def between(rows: dict[str, Tensor], task: LightningModule) -> np.ndarray:
    """Latent interpolation: rows of an image, a straight walk from its code to another's, and that other image."""
    place, lines = torch.linspace(0, 1, STEPS)[:, None], []
    for i in range(0, len(rows["code"]) - 1, 2):
        walk = torch.lerp(rows["code"][i], rows["code"][i + 1], place)
        ends = arrays(rows["image"][i : i + 2])
        lines += [ends[0], *_made(walk, task), ends[1]]
    return tiles(lines, STEPS + 2)


@torch.no_grad()
def sweeps(codes: Tensor, task: LightningModule) -> np.ndarray:
    """Latent traversal: in each row one dimension of the code goes from low to high, highest variance first."""
    mean, spread = codes.mean(0), codes.std(0)
    place, lines = torch.linspace(-REACH, REACH, STEPS), []
    for number in spread.topk(min(NUMBERS, len(spread))).indices.tolist():
        swept = codes[:1].repeat(STEPS, 1)
        swept[:, number] = mean[number] + place * spread[number]
        lines += _made(swept, task)
    return tiles(lines, STEPS)


def _made(code: Tensor, task: LightningModule) -> list[np.ndarray]:
    training = task.training
    task.eval()
    image = task.decode(code.to(task.device))
    task.train(training)
    return arrays(rgb(to_bytes(image)))
