"""Comparison of variants: statistics over runs of one task that differ in some settings."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from callbacks.results.finished_run import Run
from callbacks.results.number_format import number
from callbacks.results.uncertainty import Judged, Repeated, joined, read_judged
from callbacks.results.variants import Repeat, Variant
from callbacks.results.verdicts import enough, verdict
from modules.contracts import GREEDY, DataError
from modules.metrics.bootstrap import Estimate


class Row(NamedTuple):
    """One metric of one variant over its runs, with 95 % intervals; null where there are too few runs or no items.

    Args:
        variant: its name.
        metric: log name.
        runs: number of them.
        mean: of the runs.
        standard_deviation: sample standard deviation of the runs.
        low: lower end of the interval of the mean, over seeds and test items.
        high: upper end.
        reference: name of the variant that it is compared with; null for a reference.
        difference: mean difference to the reference, paired by seed and item.
        difference_low: lower end of its interval.
        difference_high: upper end.
        standard_error: of the difference.
        items: test items that the interval is about; 0 where it is about seeds alone.
        needed_seeds: seeds that would show the difference; null where none would, or none are needed.
        needed_items: items that would.
    """

    variant: str
    metric: str
    runs: int
    mean: float
    standard_deviation: float | None = None
    low: float | None = None
    high: float | None = None
    reference: str | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    standard_error: float | None = None
    items: int = 0
    needed_seeds: int | None = None
    needed_items: int | None = None


class Comparison:
    """Collect runs by variant and repetition, and compare them.

    Args:
        monitor: log name of the task's main metric; its test value is compared where there is one.
        mode: whether more ("max") or less ("min") of it is better.
        variants: by name.
        noun: word for test items.
    """

    def __init__(self, monitor: str, mode: str, variants: Mapping[str, Variant], noun: str = "items"):
        self.monitor, self.mode, self.variants, self.noun = monitor, mode, dict(variants), noun
        self.runs: dict[str, dict[Repeat, Run]] = {name: {} for name in variants}
        self.judged: dict[str, dict[Repeat, Judged | None]] = {name: {} for name in variants}

    def add(self, variant: str, repeat: Repeat, run: Run) -> str:
        """Add a run; returns its main result as text.

        Raises:
            DataError: it was neither validated nor tested.
        """
        test = self._test_metric()
        if not {test, self.monitor} & run.results.keys():
            raise DataError(f"{run.folder} has neither {test} nor {self.monitor}: the data needs a test or val set")
        self.runs[variant][repeat] = run
        self.judged[variant][repeat] = read_judged(run.folder)
        return f"{self.metric} {number(run.results[self.metric])}"

    @property
    def metric(self) -> str:
        """Log name of the metric by which the variants are compared."""
        return self._test_metric() if all(self._test_metric() in run.results for run in self.all) else self.monitor

    @property
    def all(self) -> list[Run]:
        return [run for runs in self.runs.values() for run in runs.values()]

    @property
    def complete(self) -> bool:
        """True once every variant has a run."""
        return all(self.runs.values())

    @property
    def references(self) -> list[str]:
        """Names of the variants that others are compared with."""
        return list(dict.fromkeys(v.reference for v in self.variants.values() if v.reference))

    def rows(self) -> list[Row]:
        """All metrics that all runs have, the main one first, variant by variant."""
        shared = set.intersection(*(set(run.results) for run in self.all))
        metrics = sorted(shared, key=lambda name: (name != self.metric, not self.of_split(name), name))
        return [self._row(name, metric) for metric in metrics for name in self.variants]

    def interval(self, variant: str, metric: str) -> Estimate | None:
        """Mean of a metric over the runs of a variant; of a single run with the interval that it has itself.

        Null also where neither seeds nor items differ, as of two runs that are wrong on every item: no value is sure.
        """
        found = self._repeated(variant, metric, list(self.runs[variant])).interval()
        ends = [run.intervals.get(metric) for run in self.runs[variant].values()]
        if found and len(ends) == 1 and ends[0]:
            return found._replace(low=ends[0][0], high=ends[0][1])
        return None if found and found.low == found.high else found

    def difference(self, variant: str, other: str, metric: str) -> Estimate | None:
        """Mean difference of two variants over the repetitions that both have."""
        shared = [repeat for repeat in self.runs[variant] if repeat in self.runs[other]]
        if not shared:
            return None
        return self._repeated(variant, metric, shared).minus(self._repeated(other, metric, shared))

    def verdicts(self) -> list[str]:
        """Sentences on the main metric: each variant beside its reference, then the best of several."""
        said = [
            verdict(
                name, variant.reference, self.mode, self.difference(name, variant.reference, self.metric), self.noun
            )
            for name, variant in self.variants.items()
            if variant.reference
        ]
        return [*said, *filter(None, map(self._best, self.references))]

    def protocol(self) -> str:
        """Protocols of the main metric, each different one once."""
        return " | ".join(dict.fromkeys(run.protocols[self.metric] for run in self.all))

    def title(self) -> str:
        seeds = sorted({repeat.seed for runs in self.runs.values() for repeat in runs})
        better = "higher" if self.mode == "max" else "lower"
        return f"{self.metric} ({better} is better), seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"

    def of_split(self, metric: str) -> bool:
        """True for metrics of the split of the main metric."""
        return metric.partition("/")[0] == self.metric.partition("/")[0]

    def _best(self, reference: str) -> str:
        """A sentence on the best of three variants or more with one reference, and those that may be as good."""
        group = [name for name, variant in self.variants.items() if reference in (name, variant.reference)]
        means = {name: np.mean([run.results[self.metric] for run in self.runs[name].values()]) for name in group}
        if len(group) < 3 or not np.isfinite(list(means.values())).all():
            return ""
        best = (max if self.mode == "max" else min)(group, key=means.__getitem__)
        differences = {name: self.difference(best, name, self.metric) for name in group if name != best}
        alike = [name for name, found in differences.items() if not (found and found.distinguishable)]
        others = f"not distinguishable from it: {'; '.join(alike)}" if alike else "better than all others"
        return f"best: {best} ({means[best]:.4f}); {others}"

    def _row(self, variant: str, metric: str) -> Row:
        values = [run.results[metric] for run in self.runs[variant].values()]
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        reference = self.variants[variant].reference
        row = Row(variant, metric, len(values), float(np.mean(values)), deviation, reference=reference)
        if own := self.interval(variant, metric):
            row = row._replace(low=own.low, high=own.high, items=own.items)
        if reference and (found := self.difference(variant, reference, metric)):
            counts = (None, None) if found.distinguishable else enough(found)
            row = row._replace(
                difference_low=found.low,
                difference_high=found.high,
                standard_error=found.standard_error,
                needed_seeds=counts[0],
                needed_items=counts[1],
            )
        if reference:
            row = row._replace(difference=self._mean_difference(variant, reference, metric))
        return row

    def _mean_difference(self, variant: str, other: str, metric: str) -> float | None:
        pairs = [(run, self.runs[other].get(repeat)) for repeat, run in self.runs[variant].items()]
        found = [run.results[metric] - theirs.results[metric] for run, theirs in pairs if theirs]
        return float(np.mean(found)) if found else None

    def _repeated(self, variant: str, metric: str, repeats: list[Repeat]) -> Repeated:
        """Runs by seed, those of its folds as one."""
        values, judged = [], []
        for seed in dict.fromkeys(repeat.seed for repeat in repeats):
            folds = [repeat for repeat in repeats if repeat.seed == seed]
            values.append(float(np.mean([self.runs[variant][each].results[metric] for each in folds])))
            judged.append(joined([self.judged[variant][each] for each in folds]))
        return Repeated(values, judged, metric)

    def _test_metric(self) -> str:
        return f"test/{self.monitor.partition('/')[2].removesuffix(GREEDY)}"
