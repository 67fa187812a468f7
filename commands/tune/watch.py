"""Watching of a training by the process that started it: heartbeat, validations, pruning, budget."""

import csv
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from callbacks.results.number_format import duration
from commands.tune.study import Claim
from modules.contracts import ConfigError

if TYPE_CHECKING:
    import optuna

    from commands.tune.search import Search

HEARTBEAT = 5  # seconds
SECONDS = "seconds"
"""Attribute of a trial: duration of its training so far."""


class Metric(NamedTuple):
    """Metric of a search.

    Args:
        name: its log name.
        mode: whether more ("max") or less ("min") of it is better.
        epochs: of a training; infinite without a limit.
        validations: of a training; 0 if that is not known.
    """

    name: str
    mode: str
    epochs: float
    validations: int


class Watch:
    """Follow a child: beat for its claim, stop it when the budget is used up and, if it is a trial, when it is pruned.

    Args:
        search: knows the budget.
        claim: on the job.
        folder: run directory of the child.
        trial: gets the validations; null for a confirmation.
    """

    def __init__(self, search: "Search", claim: Claim, folder: Path, trial: "optuna.Trial | None" = None):
        self.search, self.claim, self.folder, self.trial = search, claim, folder, trial
        self.left = search.left()
        self.began = self.beaten = time.monotonic()
        self.before = trial.user_attrs.get(SECONDS, 0.0) if trial else 0.0
        self.started = 0.0  # training, after imports and data
        self.seen = 0.0  # seconds of this part that the study knows
        self.read = 0  # time of metrics.csv
        self.pruned = self.late = False

    def __call__(self) -> bool:
        """True when the child is to save and end."""
        now = time.monotonic()
        if now - self.beaten > HEARTBEAT:
            self.beaten = now
            self.claim.beat()
            self.left = self.search.left() + self.seen
        self.started = self.started or (now if (self.folder / "config.yaml").is_file() else 0.0)
        self.late = now - self.began > self.left
        return self.late or (self.trial is not None and self._report(self.trial))

    @property
    def seconds(self) -> float:
        """Duration of all parts of the training."""
        return self.before + time.monotonic() - self.began

    def _report(self, trial: "optuna.Trial") -> bool:
        """Report new validations; returns True if successive halving ends the trial."""
        path = self.folder / "metrics.csv"
        changed = path.stat().st_mtime_ns if path.is_file() else 0
        if changed == self.read:
            return False
        self.read = changed
        known = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        new = [(i, value) for i, value in enumerate(curve(self.folder, self.search.metric), 1) if i not in known]
        for index, value in new:
            trial.report(value, index)
            behind = trial.should_prune()  # asked for trial 0 too, whose values are what others are held against
            last = index == self.search.metric.validations
            self.pruned = self.pruned or (behind and trial.number > 0 and not last)
        if new:
            self.keep_time()
            self._check_budget(trial, len(known) + len(new))
        return self.pruned

    def keep_time(self) -> None:
        """Put the duration so far into the study."""
        if self.trial:
            self.seen = time.monotonic() - self.began
            self.trial.set_user_attr(SECONDS, self.before + self.seen)

    def _check_budget(self, trial: "optuna.Trial", done: int) -> None:
        """Refuse a budget that the first trial alone would use up.

        Raises:
            ConfigError: names the budget and what a trial takes.
        """
        budget, whole = self.search.plan.budget, self.search.metric.validations
        each = (time.monotonic() - (self.started or self.began)) / done
        needed = self.started - self.began + each * whole
        first = trial.number == 0 and not self.before and self.started
        if budget and first and needed > budget and done < whole:
            raise ConfigError(
                f"--budget is {duration(budget)}, which is too small for one trial: after {done} of {whole} "
                f"validations, the whole first one would take about {duration(needed)}; raise it, or lower "
                f"--trainer.max_epochs (go on with --run_dir {shlex.quote(str(self.search.plan.folder))})"
            )


def curve(folder: Path, metric: Metric) -> Iterator[float]:
    """Validations of a run in their order, while it goes on too."""
    try:
        text = (folder / "metrics.csv").read_text(encoding="utf-8")
    except OSError:  # not yet
        return
    rows = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())  # the last line may be half written
    for row in rows:
        if row.get(metric.name) and row.get("epoch") and int(row["epoch"]) < metric.epochs:
            yield float(row[metric.name])
