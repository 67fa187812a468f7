"""A kind of prediction, `number`: its rows in files, its figure and its line in the report."""

from collections.abc import Iterator

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule

from callbacks.collectors.base import Collector
from callbacks.figures.base import render, titled
from callbacks.kinds import register
from callbacks.writers.base import Source
from callbacks.writers.tables import Table
from modules.contracts import Batch, Prediction


class NumberFile(Table):
    """Write predicted numbers as CSV, with a column `true` where the first batch has them."""

    def __init__(self, source: Source):
        truth = ["true"] if "number" in source.batch else []
        super().__init__(source.folder / f"{source.stage}.csv", source.rank, ["path", "number", *truth])

    def add(self, batch: Batch, prediction: Prediction) -> None:
        columns = [prediction["number"].tolist(), *([batch["number"].tolist()] if "number" in batch else [])]
        self.write([name, *(f"{value:.4f}" for value in row)] for name, *row in zip(batch["id"], *columns, strict=True))


class Numbers(Collector):
    """Collect predicted and true numbers of some samples, for a figure and the largest error among them."""

    def update(self, batch: Batch, outputs: Prediction, task: LightningModule, first: int) -> None:
        rows = torch.stack([batch["number"], outputs["number"].float()], 1)
        self.keep({"pair": rows}, (rows[:, 0] - rows[:, 1]).abs(), first)

    def draw(self, stage: str, task: LightningModule, data: LightningDataModule) -> Iterator[tuple[str, np.ndarray]]:
        figure = titled(480, 480, f"Numbers of {stage}")
        axes = figure.add_axes((0.13, 0.1, 0.83, 0.8))
        axes.scatter(*self.sample.kept()["pair"].numpy().T)
        axes.set(xlabel="true", ylabel="predicted")
        yield "numbers", render(figure)

    def summarize(self, stage: str, task: LightningModule) -> Iterator[str]:
        true, found = self.worst.kept()["pair"][0].tolist()
        yield f"{stage}: the largest error is {abs(found - true):.3f}, {found:.3f} in place of {true:.3f}"


register("number", prediction=["number"], truth=["number"], collect=Numbers, write=NumberFile)
