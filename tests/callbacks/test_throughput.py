import time
import warnings

import pytest
import torch
from torch.utils.data import DataLoader

from callbacks.throughput import Throughput, batch_size
from tests.helpers.small_task import Data, Memory, Samples, Task


class Slow(Samples):
    def __getitem__(self, index):
        time.sleep(0.002)
        return super().__getitem__(index)


class SlowData(Data):
    def train_dataloader(self):
        return DataLoader(Slow(self.count, 0), batch_size=self.batch)


class SlowTask(Task):
    def training_step(self, batch, batch_idx):
        time.sleep(0.016)
        return super().training_step(batch, batch_idx)


def fit(trainer, task, data, **settings):
    speed, logger = Throughput(), Memory()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(speed, logger=logger, **settings).fit(task, datamodule=data)
    return speed, logger, [str(w.message) for w in caught if "waits for data" in str(w.message)]


def test_measures_waiting_and_speed_and_warns_once(trainer):
    # 8 samples of 2 ms each to load, then 16 ms to compute: half of the time is waiting
    speed, logger, warned = fit(trainer, SlowTask(), SlowData(), max_epochs=6, log_every_n_steps=3)
    assert 0.3 < speed.data_wait < 0.6
    assert 130 < speed.samples_per_s < 250
    assert len(warned) == 1
    assert "raise --data.workers (now 0, this machine has" in warned[0]
    assert 100 < logger.values("train/samples_per_s")[-1] < 260
    assert 0.2 < logger.values("train/data_wait")[-1] < 0.7


def test_fast_loaders_pass_in_silence(trainer):
    class SlowerTask(Task):  # so that a busy machine does not count
        def training_step(self, batch, batch_idx):
            time.sleep(0.06)
            return super().training_step(batch, batch_idx)

    speed, _, warned = fit(trainer, SlowerTask(), Data(), max_epochs=5)
    assert speed.data_wait < 0.1
    assert not warned


def test_warm_up_and_validation_do_not_count(trainer):
    class SlowValidation(Task):
        def validation_step(self, batch, batch_idx):
            time.sleep(0.2)
            return super().validation_step(batch, batch_idx)

    speed, _, _ = fit(trainer, SlowValidation(), Data(), max_epochs=2, val_check_interval=3, num_sanity_val_steps=0)
    assert speed.batches == 12 - 3
    assert speed.samples == 8 * 9
    assert speed.seconds < 0.4  # three validations of 0.6 s were in between


@pytest.mark.parametrize(
    "batch",
    [
        {"image": torch.zeros(4, 3, 8, 8)},
        {"image": [torch.zeros(3, 8, 8)] * 4},
        {"views": [torch.zeros(4, 3, 8, 8)] * 2},
        {"source": torch.zeros(4, 7)},
    ],
)
def test_counts_the_samples_of_every_kind_of_batch(batch):
    assert batch_size(batch) == 4
