"""Means over batches are exact on any number of devices."""

import pytest
import torch

from modules.metrics.means import Means
from tests.helpers.forks import in_group

BATCHES = [({"loss": 1.0}, 3), ({"loss": 5.0, "extra": 2.0}, 1), ({"loss": 0.5}, 7)]


def test_a_mean_is_weighted_and_starts_anew():
    means = Means()
    for values, count in BATCHES:
        means.update(values, count)
    found = {name: value.item() for name, value in means.compute().items()}
    assert found == pytest.approx({"loss": (3 + 5 + 3.5) / 11, "extra": 2.0})
    assert means.compute() == {}


def test_what_counts_nothing_does_not_spoil_a_mean():
    means = Means()
    means.update({"loss": torch.tensor(torch.nan)}, torch.tensor(0))
    assert means.compute()["loss"].isnan()
    means.update({"loss": torch.tensor(torch.nan)}, 0)
    means.update({"loss": torch.tensor(2.0, dtype=torch.bfloat16)}, 4)
    assert means.compute()["loss"].item() == 2


def test_many_small_values_are_summed_exactly():
    means = Means()
    means.update({"loss": 1e8}, 1)
    for _ in range(1000):
        means.update({"loss": 1.0}, 1)
    assert means.compute()["loss"].item() == pytest.approx((1e8 + 1000) / 1001, rel=1e-7)


def third(rank: int) -> dict[str, float]:
    means = Means()
    for values, count in BATCHES[rank::3] if rank < 2 else ():  # the third has no batch
        means.update(values, count)
    return {name: value.item() for name, value in means.compute().items()}


@pytest.mark.integration
def test_processes_have_the_mean_of_all_batches_also_one_without_any(tmp_path):
    for found in in_group(third, tmp_path, processes=3):
        assert found == pytest.approx({"loss": (3 + 5) / 4, "extra": 2.0})
        assert list(found) == ["loss", "extra"]
