"""Training of the trials of a study and of its confirmation, each by a child that is watched and may be stopped."""

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callbacks.results.finished_run import Run, read_run
from callbacks.results.number_format import duration, number
from commands import child
from commands.tune.plan import Plan
from commands.tune.space import typed
from commands.tune.study import Claim, Trials
from commands.tune.watch import SECONDS, Metric, Watch
from modules.contracts import DataError

if TYPE_CHECKING:
    import optuna

FAILURES = 3
"""Trials that may fail one after the other before the search ends."""
FAILED = "failed"
"""Attribute of a trial: the reason of its failure."""


class OutOfTime(Exception):
    """Exception for a budget that is used up."""


class Search:
    """Train the trials that no other process trains, then the best and the default on fresh seeds.

    Args:
        plan: of the search.
        trials: of the study.
        metric: of the search.
        seed: of the trials.
    """

    def __init__(self, plan: Plan, trials: Trials, metric: Metric, seed: int):
        self.plan, self.trials, self.metric, self.seed = plan, trials, metric, seed
        self.count = plan.trials or math.inf
        self.reserve = 0.0  # seconds of the budget that are left to the confirmation
        self.failures = 0

    def left(self) -> float:
        """Seconds of training that the budget allows now."""
        if not self.plan.budget:
            return math.inf
        return self.plan.budget - self.reserve - self.spent()

    def spent(self) -> float:
        """Seconds of training of all processes until now."""
        runs = (self.confirmation(*job) for job in self.jobs())
        confirmed = sum(run.seconds or 0.0 for run in runs if run)
        return confirmed + sum(trial.user_attrs.get(SECONDS, 0.0) for trial in self.trials.all())

    def run(self) -> Iterator[str]:
        """Train until there is no trial left, or no time; yields a line about each.

        Raises:
            ConfigError, DataError: the default failed, or several trials in a row.
        """
        waited = False
        while True:
            self._keep_reserve()
            if self.left() <= 0:
                if len(self.trials.all()) < self.count or self.trials.running():
                    share = "this search's share of " * self.plan.steps
                    yield f"{share}the budget, {duration(self.plan.budget or 0)}, is used up: raise --budget to go on"
                return
            if taken := self.trials.take(self.count):
                trial, claim = taken
                try:
                    yield self._train(trial, claim)
                except OutOfTime:
                    continue
                finally:
                    claim.release()
            elif not (others := self.trials.running()):
                return
            else:
                if not waited:
                    yield f"waiting for {others} trial(s) of other processes"
                waited = True
                time.sleep(1)

    def _train(self, trial: "optuna.Trial", claim: Claim) -> str:
        """Train a trial, and tell the study how it ended; returns a line about it."""
        from optuna.trial import TrialState

        folder, study = self.trials.run_folder(trial.number), self.trials.study
        watch = Watch(self, claim, folder, trial)
        words = [typed(name, value) for name, value in trial.params.items()] if trial.number else []
        try:
            ended = child.fit([*self.plan.typed, *words], folder, claim.file, watch=watch)
        finally:
            watch.keep_time()
        text = _settings(trial.params)
        first = "start" if self.plan.steps else "default"
        said = f"trial {trial.number}{f' (the {first})' if trial.number == 0 else ''}"
        if ended is None or ended.code == 0:
            value = self._value(folder)
            study.tell(trial, value) if math.isfinite(value) else study.tell(trial, state=TrialState.PRUNED)
            self.failures = 0
            return f"{said}: {self.metric.name} {number(value)}, {duration(watch.seconds)}; {text}"
        if watch.late:
            raise OutOfTime
        if watch.pruned:
            study.tell(trial, state=TrialState.PRUNED)
            return f"{said}: pruned after {duration(watch.seconds)}; {text}"
        self.failures += 1
        if trial.number == 0 or self.failures == FAILURES:
            several = f"{FAILURES} trials in a row failed, the last" if trial.number else "failed"
            raise ended.error(f"{said}: {several}: {ended.reason} (all it said is in {ended.log})")
        trial.set_user_attr(FAILED, ended.reason)
        study.tell(trial, state=TrialState.PRUNED)
        return f"{said}: failed: {ended.reason}; {text}"

    def _value(self, folder: Path) -> float:
        """The metric of the weights that a finished run chose."""
        run = read_run(folder, self.metric.name)
        if self.metric.name not in run.results:
            raise DataError(
                f"{folder} was not validated by {self.metric.name}: tune needs a val set, such as --data.val_split 0.1"
            )
        return run.results[self.metric.name]

    # Confirmation ----------------------------------------------------------------------------------------------------

    def _keep_reserve(self) -> None:
        """Leave time for a confirmation: up to half of the budget, for as many seeds as fit into it."""
        longest = max((t.user_attrs.get(SECONDS, 0.0) for t in self.trials.finished()), default=0.0)
        if self.plan.budget and longest:
            seeds = min(self.plan.seeds, int(self.plan.budget / 2 / (2 * longest)))
            self.reserve = 2 * seeds * longest if seeds > 1 else 0.0

    def jobs(self) -> list[tuple[int, int]]:
        """Trial and seed of every training of the confirmation."""
        best = self.trials.finished()[:1]
        if not best or best[0].number == 0:
            return []
        seeds = [(self.seed + i) % 2**32 for i in range(1, self.plan.seeds + 1)]
        return [(trial, seed) for seed in seeds for trial in (0, best[0].number)]

    def confirmation_folder(self, trial: int, seed: int) -> Path:
        """Run directory of a trial's settings with another seed."""
        return self.plan.folder / "confirm" / f"trial{trial:03d}" / f"seed{seed}"

    def confirmation(self, trial: int, seed: int) -> Run | None:
        """A trial's settings trained with another seed; null if they are not yet."""
        folder = self.confirmation_folder(trial, seed)
        return read_run(folder, self.metric.name) if (folder / "results.json").is_file() else None

    def confirm(self) -> Iterator[str]:
        """Train the best trial and the default with fresh seeds, as far as the budget goes; yields a line about each.

        Raises:
            ConfigError, DataError: a training failed.
        """
        self.reserve = 0.0
        while missing := [job for job in self.jobs() if not self.confirmation(*job)]:
            if self.left() <= 0:
                return
            for trial, seed in missing:
                folder = self.confirmation_folder(trial, seed)
                if claim := Claim.take(folder.with_name(f".{folder.name}.claim")):
                    try:
                        yield self._confirm(trial, seed, claim)
                    except OutOfTime:
                        return
                    finally:
                        claim.release()
                    break
            else:
                time.sleep(1)

    def _confirm(self, number_: int, seed: int, claim: Claim) -> str:
        folder, params = self.confirmation_folder(number_, seed), self.trials.all()
        trial = next(t for t in params if t.number == number_)
        words = [typed(name, value) for name, value in trial.params.items()] if number_ else []
        watch = Watch(self, claim, folder)
        ended = child.fit([*self.plan.typed, *words, f"--seed_everything={seed}"], folder, claim.file, watch=watch)
        if ended and ended.code:
            if watch.late:
                raise OutOfTime
            raise ended.error(
                f"trial {number_} with seed {seed} failed: {ended.reason} (all it said is in {ended.log})"
            )
        return f"trial {number_} with seed {seed}: {self.metric.name} {number(self._value(folder))}"


def _settings(params: Mapping[str, Any]) -> str:
    values = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in params.items()}
    return ", ".join(f"{name} {value}" for name, value in values.items())
