"""The order of samples: shuffled by (seed, epoch), shared between devices, continued from any point."""

from itertools import chain

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from datamodules.sampler import DistributedSequentialSampler, EpochSampler


class Keys(Dataset):
    def __getitem__(self, key: tuple[int, int]) -> tuple[int, int]:
        return key


def epoch(sampler: EpochSampler, number: int) -> list[tuple[int, int]]:
    sampler.set_epoch(number)
    return list(sampler)


def test_an_epoch_visits_every_sample_once():
    assert sorted(epoch(EpochSampler(50, seed=0), 3)) == [(3, i) for i in range(50)]


def test_the_order_depends_on_seed_and_epoch_alone():
    orders = {(s, e): tuple(i for _, i in epoch(EpochSampler(50, seed=s), e)) for s in range(4) for e in range(4)}
    assert len(set(orders.values())) == 16
    np.random.seed(7)
    sampler = EpochSampler(50, seed=2)
    assert tuple(i for _, i in [epoch(sampler, n) for n in (0, 3, 1)][-1]) == orders[2, 1]


def test_without_a_seed_the_order_is_that_of_the_data():
    assert epoch(EpochSampler(7, seed=None), 0) == [(0, i) for i in range(7)]


@pytest.mark.parametrize(("size", "batch", "kept"), [(50, 8, 48), (48, 8, 48), (50, 0, 50), (7, 8, 0)])
def test_only_the_incomplete_last_batch_is_dropped(size, batch, kept):
    sampler = EpochSampler(size, seed=0, batch=batch)
    assert epoch(sampler, 0) == epoch(EpochSampler(size, seed=0), 0)[:kept]
    assert len(sampler) == kept


@pytest.mark.parametrize("devices", [2, 3])
def test_devices_share_the_global_batches_of_a_single_device(devices):
    batch, size = 12, 50
    one = epoch(EpochSampler(size, seed=0, batch=batch), 5)
    parts = [epoch(EpochSampler(size, 0, batch, rank, devices), 5) for rank in range(devices)]
    assert {len(part) for part in parts} == {len(one) // devices}
    per = batch // devices
    for step in range(len(one) // batch):
        together = [key for part in parts for key in part[step * per : (step + 1) * per]]
        assert sorted(together) == sorted(one[step * batch : (step + 1) * batch])


@pytest.mark.parametrize("devices", [2, 3])
def test_evaluation_deals_whole_batches_in_turn_and_loses_nothing(devices):
    parts = [epoch(DistributedSequentialSampler(10, 2, rank, devices), 0) for rank in range(devices)]
    assert sorted(chain(*parts)) == [(0, i) for i in range(10)]
    assert parts[1][:4] == [(0, 2), (0, 3), (0, 2 + 2 * devices), (0, 3 + 2 * devices)]
    samplers = [DistributedSequentialSampler(10, 2, rank, devices) for rank in range(devices)]
    assert [len(sampler) for sampler in samplers] == [len(part) for part in parts]


def test_a_device_without_a_batch_gets_the_first_which_does_not_count():
    samplers = [DistributedSequentialSampler(5, 4, rank, 3) for rank in range(3)]
    assert [sampler.surplus for sampler in samplers] == [False, False, True]
    assert list(samplers[1]) == [(0, 4)]
    assert list(samplers[2]) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert len(samplers[2]) == 4


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("steps", [0, 1, 3, 4])
def test_a_resumed_epoch_goes_on_where_it_stood(devices, steps):
    batch, size = 12, 50
    for rank in range(devices):
        whole = epoch(EpochSampler(size, 0, batch, rank, devices), 2)
        resumed = EpochSampler(size, 0, batch, rank, devices, resume=(2, steps * batch))
        assert epoch(resumed, 2) == whole[steps * batch // devices :]


def test_asking_twice_for_a_resumed_epoch_gives_the_same_samples():
    sampler = EpochSampler(50, 0, 10, resume=(2, 20))
    assert epoch(sampler, 2) == epoch(sampler, 2)


def test_epochs_after_the_resumed_one_are_whole():
    resumed = EpochSampler(50, 0, 10, resume=(2, 20))
    assert epoch(resumed, 3) == epoch(EpochSampler(50, 0, 10), 3)


@pytest.mark.integration
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_order_is_the_same_for_any_number_of_workers(workers):
    loader = DataLoader(Keys(), 4, sampler=EpochSampler(16, 0, 4), num_workers=workers, collate_fn=list)
    assert list(chain(*loader)) == list(EpochSampler(16, 0, 4))


@pytest.mark.parametrize("devices", [1, 2])
def test_repeated_samples_come_in_a_row_each_with_a_key_of_its_own(devices):
    whole = [index for _, index in epoch(EpochSampler(50, 0), 1)]
    parts = [epoch(EpochSampler(50, 0, 12, rank, devices, repeats=3), 1) for rank in range(devices)]
    keys = [key for step in zip(*parts, strict=True) for key in step]
    assert [index for _, index in keys] == [index for index in whole[:16] for _ in range(3)]
    assert len(set(keys)) == 48  # each is augmented anew
    assert not {e for e, _ in keys} & {e for e, _ in epoch(EpochSampler(50, 0, 12, repeats=3), 2)}
    resumed = epoch(EpochSampler(50, 0, 12, 0, devices, (1, 24), repeats=3), 1)
    assert resumed == parts[0][24 // devices :]
