"""Intervals by resampling: closed forms, pairs, seeds, counts that would be needed, coverage."""

import math

import numpy as np
import pytest
from scipy.stats import t

from modules.metrics.bootstrap import Items, Sums, counts, difference, intervals, mean, needed
from modules.metrics.bootstrap.resampling import ends

RANDOM = np.random.default_rng(5)


def items(values, ids=None) -> Items:
    """Test items with a metric `x`, the mean of their values."""
    values = np.asarray(values, np.float64)
    ids = np.array([f"{i:04}" for i in range(len(values))] if ids is None else ids)
    return Items(ids, [Sums("means", ["x"], np.stack([values, np.ones(len(values))], 1))])


def test_the_interval_of_an_accuracy_is_that_of_a_binomial_share():
    found = intervals(items(np.arange(400) < 300))["x"]
    error = math.sqrt(0.75 * 0.25 / 400)
    assert found.value == 0.75 and found.items == 400
    assert found.standard_error == pytest.approx(error, rel=0.1)
    assert (found.low, found.high) == pytest.approx((0.75 - 1.96 * error, 0.75 + 1.96 * error), abs=0.25 * error)


@pytest.mark.parametrize("count", [20, 300])
def test_the_interval_of_a_mean_is_students(count):
    values = RANDOM.normal(5, 2, count)
    found = intervals(items(values), resamples=4000)["x"]
    error = values.std(ddof=1) / math.sqrt(count)
    reach = t.ppf(0.975, count - 1) * error
    assert found.standard_error == pytest.approx(error, rel=0.05)
    assert (found.low, found.high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.15 * reach)


def test_where_nothing_is_wrong_the_interval_of_a_share_is_wilsons():
    found = intervals(items(np.ones(50)))["x"]
    assert (found.low, found.high) == pytest.approx((50 / (50 + 1.96**2), 1), abs=1e-4)


def test_a_metric_that_no_resampling_moves_has_no_interval():
    assert intervals(items([2.5] * 30))["x"] is None
    assert intervals(items([math.nan, 1]))["x"] is None
    assert intervals(items([1.0]))["x"] is None  # a single item


def test_a_difference_is_paired_whatever_the_order_of_the_items():
    hard = RANDOM.normal(0, 10, 200)
    first, second = hard + RANDOM.normal(1, 1, 200), hard + RANDOM.normal(0, 1, 200)
    names, turned = np.array([f"{i:04}" for i in range(200)]), RANDOM.permutation(200)
    found = difference([items(first, names)], [items(second[turned], names[turned])])["x"]
    apart = first - second
    assert found.value == pytest.approx(apart.mean())
    assert found.standard_error == pytest.approx(apart.std(ddof=1) / math.sqrt(200), rel=0.1)
    assert found.distinguishable and found.low < 1 < found.high


def test_runs_on_other_items_are_not_paired():
    with pytest.raises(ValueError, match="different items"):
        difference([items([1, 0, 1])], [items([1, 0, 1], ["a", "b", "c"])])
    with pytest.raises(ValueError, match="paired"):
        difference([items([1, 0])] * 2, [items([1, 0])])


def test_resampling_repeats_itself_and_leaves_global_random_numbers_alone():
    np.random.seed(3)
    before, values = np.random.get_state()[1].copy(), RANDOM.normal(size=50)
    assert intervals(items(values)) == intervals(items(values))
    assert (np.random.get_state()[1] == before).all()
    drawn = np.concatenate(list(counts(50, 30)))
    assert drawn.shape == (30, 50) and (drawn.sum(1) == 50).all()


def test_seeds_and_items_are_two_crossed_random_effects():
    """Variances of 40 seeds with 2,000 items, known from how the values were made."""
    own, common, both = 0.05, 1.0, 2.0
    effects = RANDOM.normal(0, own, 40)[:, None] + RANDOM.normal(0, common, 2000)
    runs = [items(row) for row in effects + RANDOM.normal(0, both, effects.shape)]
    found = mean(runs, resamples=300)["x"]
    assert found.seeds == 40
    assert found.both_variance == pytest.approx(both**2, rel=0.2)
    assert found.item_variance == pytest.approx(common**2, rel=0.3)
    assert found.seed_variance == pytest.approx(own**2, abs=0.002)
    theory = own**2 / 40 + common**2 / 2000 + both**2 / 80000
    assert found.standard_error == pytest.approx(math.sqrt(theory), rel=0.25)


def test_few_seeds_that_differ_leave_a_wide_interval():
    runs = [items(RANDOM.normal(center, 0.1, 500)) for center in (0.0, 1.0)]
    found = mean(runs)["x"]
    reach = t.ppf(0.975, 1) * found.standard_error
    assert found.high - found.low == pytest.approx(2 * reach, rel=0.05)
    assert found.standard_error == pytest.approx(0.5, rel=0.02)


def test_the_counts_that_would_be_needed_follow_from_normal_theory():
    values = np.tile([1.2, -1.0], 200)  # a difference of .1 with a spread of 1.1
    found = intervals(items(values))["x"]
    assert not found.distinguishable
    wanted = needed(found)
    assert wanted.items == pytest.approx((1.1 * (1.96 + 0.8416) / 0.1) ** 2, rel=0.1)
    assert wanted.seeds is None  # the spread of seeds is unknown
    again = needed(found._replace(seeds=4, seed_variance=0.04, both_variance=0.0, item_variance=0.4))
    left = (0.1 / 2.8016) ** 2 - 0.4 / 400
    assert again.seeds == math.ceil(0.04 / left)
    assert again.items is None  # four seeds spread too much for any number of items


@pytest.mark.parametrize("count", [40, 200])
def test_intervals_contain_the_true_value_nineteen_times_of_twenty(count):
    random = np.random.default_rng(count)
    inside = []
    for _ in range(300):
        share = (random.random(count) < 0.8).mean()
        low, high = ends(share, random.binomial(count, share, 400) / count, count)
        inside.append(low <= 0.8 <= high)
    assert 0.9 < np.mean(inside) < 0.99
