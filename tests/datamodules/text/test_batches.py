"""Batches of similar length: within their limits, every pair once, the same for (seed, epoch), continued anywhere."""

from itertools import chain

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from datamodules.text.batches import LengthBatches

LENGTHS = np.random.default_rng(0).integers(2, 40, 500)


def epoch(sampler: LengthBatches, number: int) -> list[tuple[int, ...]]:
    sampler.set_epoch(number)
    keys = list(sampler)
    assert {e for e, _ in keys} == {number if sampler.seed is not None else 0}
    return [tuple(map(int, rows)) for _, rows in keys]


def ends_by_hand(lengths: np.ndarray, tokens: int | None, samples: int | None) -> list[int]:
    """Reference: add sample after sample as long as the batch has room."""
    ends, first = [], 0
    for i, longest in enumerate(lengths):
        size = i - first + 1
        if size > 1 and ((tokens and size * longest > tokens) or (samples and size > samples)):
            ends.append(i)
            first = i
    return [*ends, len(lengths)]


@pytest.mark.parametrize(
    ("tokens", "samples"), [(100, None), (1000, None), (30, None), (200, 7), (None, 16), (1, None)]
)
def test_batches_are_as_large_as_the_limits_allow(tokens, samples):
    found = LengthBatches(LENGTHS, tokens, samples, seed=0).ends
    assert found.tolist() == ends_by_hand(np.sort(LENGTHS), tokens, samples)


def test_an_epoch_visits_every_pair_once_within_the_limit():
    batches = epoch(LengthBatches(LENGTHS, 200, None, seed=0), 3)
    assert sorted(chain(*batches)) == list(range(500))
    assert max(len(batch) * LENGTHS[list(batch)].max() for batch in batches) <= 200


def test_the_order_depends_on_seed_and_epoch_alone():
    orders = {(s, e): epoch(LengthBatches(LENGTHS, 200, None, seed=s), e) for s in range(3) for e in range(3)}
    assert len({str(order) for order in orders.values()}) == 9
    np.random.seed(7)
    sampler = LengthBatches(LENGTHS, 200, None, seed=2)
    assert [epoch(sampler, n) for n in (0, 2, 1)][-1] == orders[2, 1]


def test_every_epoch_has_as_many_batches_but_others():
    sampler = LengthBatches(LENGTHS, 200, None, seed=0)
    first, second = epoch(sampler, 0), epoch(sampler, 1)
    assert len(first) == len(second) == len(sampler)
    assert len(set(map(frozenset, first)) & set(map(frozenset, second))) < len(first) / 5
    lengths = [LENGTHS[list(batch)].max() for batch in first]
    assert lengths != sorted(lengths)


def test_padding_is_what_is_counted():
    sampler = LengthBatches(LENGTHS, 200, None, seed=0)
    batches = epoch(sampler, 0)
    padded = sum(len(batch) * LENGTHS[list(batch)].max() for batch in batches)
    assert sampler.padding() == pytest.approx(1 - LENGTHS.sum() / padded)


def test_without_a_seed_batches_come_in_the_order_of_length_and_equal_ones_in_that_of_the_data():
    assert epoch(LengthBatches(np.array([3, 1, 2, 1, 3]), None, 2, seed=None), 0) == [(1, 3), (2, 0), (4,)]
    assert epoch(LengthBatches(np.zeros(5, np.int64), None, 2, seed=None), 4) == [(0, 1), (2, 3), (4,)]


@pytest.mark.parametrize("devices", [2, 3])
def test_devices_share_the_batches_of_a_single_device(devices):
    one = epoch(LengthBatches(LENGTHS, 200, None, 0), 5)
    parts = [epoch(LengthBatches(LENGTHS, 200, None, 0, rank, devices), 5) for rank in range(devices)]
    assert {len(part) for part in parts} == {len(one) // devices}
    assert list(chain(*zip(*parts, strict=True))) == one[: len(one) // devices * devices]


@pytest.mark.parametrize("devices", [2, 3])
def test_evaluation_on_several_devices_repeats_and_loses_nothing(devices):
    parts = [LengthBatches(LENGTHS, None, 16, None, rank, devices) for rank in range(devices)]
    assert sorted(chain(*chain(*(epoch(part, 0) for part in parts)))) == list(range(500))
    assert [len(part) for part in parts] == [len(epoch(part, 0)) for part in parts]


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("steps", [0, 1, 7])
def test_a_resumed_epoch_goes_on_where_it_stood_and_the_next_is_whole(devices, steps):
    for rank in range(devices):
        fresh = LengthBatches(LENGTHS, 200, None, 0, rank, devices)
        resumed = LengthBatches(LENGTHS, 200, None, 0, rank, devices, resume=(2, steps * devices))
        assert epoch(resumed, 2) == epoch(resumed, 2) == epoch(fresh, 2)[steps:]
        assert epoch(resumed, 3) == epoch(fresh, 3)


class Keys(Dataset):
    def __getitem__(self, key: tuple[int, np.ndarray]) -> list[int]:
        return key[1].tolist()


@pytest.mark.integration
@pytest.mark.parametrize("workers", [0, 2])
def test_the_order_is_the_same_for_any_number_of_workers(workers):
    loader = DataLoader(
        Keys(), batch_size=None, sampler=LengthBatches(LENGTHS, 400, None, 0), num_workers=workers, collate_fn=list
    )
    assert list(map(tuple, loader)) == epoch(LengthBatches(LENGTHS, 400, None, 0), 0)
