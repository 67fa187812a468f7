"""Training throughput in samples per second, and the fraction of time spent waiting for data."""

import os
from time import perf_counter
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch.utils.data import DataLoader

from callbacks.results.number_format import duration
from modules.contracts import Batch

WARM_UP = 3  # batches; the first ones compile, allocate and wait for the workers to start
MIN_BATCHES = 20  # batches before the share of waiting says anything
MAX_DATA_TIME = 0.1  # of the time, waited for data, that is worth a warning


class SpeedMonitor(Callback):
    """Log training throughput and data-loading time every `log_every_n_steps` steps.

    `train/samples_per_sec` counts all processes together; `train/data_time_fraction` is the share of time between two
    batches, 0..1. Validation, checkpoints and the first batch after them do not count.

    Clocks run on the host and nothing is synchronized: on a GPU the loaders must pin memory, otherwise the copy to the
    device waits for the computation and looks like waiting for data.
    """

    def __init__(self) -> None:
        self.samples = 0  # seen, timed, and waited for since the start, warm-up excluded
        self.batches = 0
        self.seconds = 0.0
        self.waited = 0.0
        self._made = perf_counter()
        self._window = (0, 0.0, 0.0)  # samples, seconds, waited at the last log
        self._warm_up = WARM_UP
        self._ended: float | None = None  # when the last batch ended; None when something else came between
        self._started = 0.0
        self._wait = 0.0
        self._warned = False

    @property
    def samples_per_sec(self) -> float:
        """Over the whole run; 0 when nothing was timed."""
        return self.samples / self.seconds if self.seconds else 0.0

    @property
    def data_time_fraction(self) -> float:
        """Share 0..1 of the time of the whole run."""
        return self.waited / self.seconds if self.seconds else 0.0

    def report_lines(self, trainer: Trainer) -> list[str]:
        """Duration of the run and its speed in training, for the final report; nothing when nothing was timed."""
        if not self.seconds:
            return []
        speed = f"{self.samples_per_sec:,.0f} samples/s in training"
        waited = f"{100 * self.data_time_fraction:.0f} % of the time waiting for data"
        return [f"{duration(perf_counter() - self._made)}; {speed}, {waited}"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._warm_up = WARM_UP

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self._started = perf_counter()
        self._wait = self._started - self._ended if self._ended is not None else 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._ended = perf_counter()
        if self._warm_up:
            self._warm_up -= 1
            return
        self.batches += 1
        self.samples += batch_size(batch) * trainer.world_size
        self.seconds += self._ended - self._started + self._wait
        self.waited += self._wait
        if trainer.log_every_n_steps and trainer.global_step % trainer.log_every_n_steps == 0:
            samples, seconds, waited = self._window
            self._window = self.samples, self.seconds, self.waited
            seconds = self.seconds - seconds
            pl_module.log("train/samples_per_sec", (self.samples - samples) / seconds, batch_size=1)
            pl_module.log("train/data_time_fraction", (self.waited - waited) / seconds, batch_size=1)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._ended = None

    on_validation_start = on_train_epoch_start

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._ended = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._warned or self.batches < MIN_BATCHES or self.data_time_fraction <= MAX_DATA_TIME:
            return
        self._warned = True
        loader, cores = trainer.train_dataloader, os.cpu_count() or 1
        workers = loader.num_workers if isinstance(loader, DataLoader) else 0
        remedy = f"raise --data.workers (now {workers}, this machine has {cores} cores)"
        if workers >= cores:
            remedy = f"choose cheaper augmentation or store smaller images ({workers} workers use all {cores} cores)"
        rank_zero_warn(f"{100 * self.data_time_fraction:.0f} % of the time the model waits for data: {remedy}.")


def batch_size(batch: Batch) -> int:
    """Samples in a batch, by whichever input it has; lists (images of several sizes, views) included."""
    if "views" in batch:
        return len(batch["views"][0])
    return len(next(batch[key] for key in ("image", "video", "source", "target") if key in batch))
