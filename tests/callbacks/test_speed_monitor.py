import pytest
import torch
from torch.utils.data import DataLoader

from callbacks import speed_monitor
from callbacks.speed_monitor import SpeedMonitor, batch_size
from tests.helpers.errors import assert_named, warnings_of
from tests.helpers.small_task import Data, MemoryLogger, Samples, Task


class Clock:
    """Clock for the callback that only advances when a test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(speed_monitor, "perf_counter", made)
    return made


class Timed(Task):
    """Task with a duration of `seconds` per training and validation step."""

    def __init__(self, clock, seconds, validating=0.0):
        super().__init__()
        self.clock, self.seconds, self.validating = clock, seconds, validating

    def training_step(self, batch, batch_idx):
        self.clock.now += self.seconds
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        self.clock.now += self.validating
        return super().validation_step(batch, batch_idx)


class TimedData(Data):
    """Data with a loading time of `seconds` per training sample."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def train_dataloader(self):
        owner = self

        class Slow(Samples):
            def __getitem__(self, index):
                owner.clock.now += owner.seconds
                return super().__getitem__(index)

        return DataLoader(Slow(self.count, 0), batch_size=self.batch)


def fit(trainer, task, data, **settings):
    speed, logger = SpeedMonitor(), MemoryLogger()
    with warnings_of(speed_monitor) as said:
        trainer(speed, logger=logger, **settings).fit(task, datamodule=data)
    return speed, logger, said


def test_measures_waiting_and_speed_and_warns_once(trainer, clock):
    # 8 samples of 2 ms each to load, then 16 ms to compute; 6 batches an epoch, and the first one's wait does not count
    speed, logger, said = fit(trainer, Timed(clock, 0.016), TimedData(clock, 0.002), max_epochs=6, log_every_n_steps=3)
    batches, waits = 6 * 6 - 3, 6 * 6 - 3 - 5
    assert speed.data_time_fraction == pytest.approx(waits / (waits + batches))
    assert speed.samples_per_sec == pytest.approx(8 * batches / (0.016 * (waits + batches)))
    assert len(said) == 1
    assert_named(said[0], f"{100 * waits / (waits + batches):.0f} %", "--data.workers", 0)
    assert logger.values("train/samples_per_sec")[-1] == pytest.approx(8 / 0.032)
    assert logger.values("train/data_time_fraction")[-1] == pytest.approx(0.5)


def test_fast_loaders_pass_in_silence(trainer, clock):
    speed, _, said = fit(trainer, Timed(clock, 0.095), TimedData(clock, 0.001), max_epochs=5)
    assert 0.05 < speed.data_time_fraction < 0.1
    assert not said


def test_warm_up_and_validation_do_not_count(trainer, clock):
    task = Timed(clock, 0.01, validating=5.0)
    speed, _, _ = fit(trainer, task, TimedData(clock, 0.0), max_epochs=2, val_check_interval=3, num_sanity_val_steps=0)
    assert speed.batches == 12 - 3
    assert speed.samples == 8 * 9
    assert speed.seconds == pytest.approx(0.01 * 9)


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
