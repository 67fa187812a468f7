"""A race of candidates by successive halving: equal time for all in a rung, half of them in the next."""

import csv
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import IO

from callbacks.results.number_format import duration
from commands import child
from commands.advise.judge import Judge, Judged, loaded
from commands.advise.plan import OVERHEAD, Candidate, Plan
from commands.advise.state import Rung, State
from modules.contracts import ConfigError, DataError
from tasks import VisionTask

TIMED = 8
"""Steps of the training that measures the speed of a candidate."""
FEWEST = 10
"""Steps of a training in a rung, at least."""


class Race:
    """Train candidates in rungs of a budget, judge each, and keep the better half.

    Args:
        plan: budget, folder and arguments.
        candidates: that the budget can race.
        state: what an interrupted race has found, if any; kept up to date.
        judge: of features.
        build: the task of a candidate, with its initial weights.
        samples: per step of a candidate.
        lock: of the folder; trainings hold it too, in case this process is killed.
    """

    def __init__(
        self,
        plan: Plan,
        candidates: list[Candidate],
        state: State,
        judge: Judge,
        build: Callable[[Candidate], VisionTask],
        samples: Callable[[Candidate], int],
        lock: IO[str],
    ):
        self.plan, self.state, self.judge = plan, state, judge
        self.build, self.samples, self.lock = build, samples, lock
        state.begin([one.name for one in candidates])
        self.racing = [one for one in candidates if one.name not in state.out]
        self.began = time.monotonic() - state.seconds

    def run(self) -> Iterator[str]:
        """Race; yields a line about each step.

        At the end `racing` has the candidates of the last rung, the best first.

        Raises:
            ConfigError, DataError: no candidate could be trained.
        """
        yield from self._judge_starts()
        for one in list(self.racing):
            yield from self._time(one)
        yield f"raced: {', '.join(one.name for one in self.racing)}; output of each beside its folder"
        sizes = self.plan.sizes(len(self.state.rungs[0].steps if self.state.rungs else self.racing))
        for number, size in enumerate(sizes):
            self.racing = self.racing[:size]
            if number == len(self.state.rungs):
                self.state.rungs.append(Rung(self._steps(self.racing, len(sizes) - number), {}))
                self.save()
            for one in list(self.racing):
                yield self._train(one, number)
            self.racing.sort(key=lambda one: -self.state.rungs[number].results[one.name].probe)

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.plan.budget - (time.monotonic() - self.began)

    def save(self, **more: str) -> None:
        """Write `advise.json`."""
        self.state.save(time.monotonic() - self.began, **more)

    def _judge_starts(self) -> Iterator[str]:
        """Features as they are before any training."""
        for start in self.plan.starts:
            one = next((one for one in self.racing if one.start == start), None)
            if one is None or start in self.state.bases:
                continue
            items = Path(f"items_{len(self.state.bases)}.npz")
            found = self.judge(self.build(one), self.plan.folder / items)
            self.state.bases[start] = found._replace(items=str(items))
            self.save()
            yield f"{'random weights' if one.weights is None else start} as they are: {said(found)}"

    def _time(self, one: Candidate) -> Iterator[str]:
        """Measure how long a few steps of a candidate take; one that fails is out."""
        if one.name in self.state.speeds:
            return
        folder = self.plan.folder / "speed" / one.name
        ended = self._fit(one, TIMED, folder)
        if ended and ended.code:
            self._drop(one, ended)
            yield f"{one.words} is out: {ended.reason}"
            return
        self._note_pace(one, folder, ended, TIMED)
        self.save()

    def _note_pace(self, one: Candidate, folder: Path, ended: child.Ended | None, steps: int) -> None:
        """Keep how long the steps of a training took, and all beside them: of one that outlived this process, about."""
        known, logged = self.state.speeds.get(one.name), logged_speeds(folder)
        if known and not (ended and logged):
            return
        pace = self.samples(one) / median(logged) if logged else (ended.seconds if ended else steps) / steps
        if ended:
            self.state.speeds[one.name] = (max(0.0, ended.seconds - steps * pace), pace)
        else:
            self.state.speeds[one.name] = (OVERHEAD, pace)

    def _steps(self, candidates: list[Candidate], left: int) -> dict[str, int]:
        """Steps of each candidate in the next rung, so that all take equal shares of the time that is left.

        Args:
            candidates: of the rung.
            left: number of rungs that are left.
        """
        share = max(1.0, self.left) / left / len(candidates)
        found = {}
        for one in candidates:
            overhead, pace = self.state.speeds[one.name]
            found[one.name] = max(FEWEST, int((share - overhead) / pace))
        return found

    def _train(self, one: Candidate, number: int) -> str:
        """Train and judge a candidate in a rung; returns a line about it."""
        rung, folder = self.state.rungs[number], self.plan.folder / f"rung{number + 1}" / one.name
        if one.name not in rung.results:
            steps = rung.steps[one.name]
            ended = self._fit(one, steps, folder)
            if ended and ended.code:
                self._drop(one, ended)
                return f"{one.words} is out: {ended.reason}"
            self._note_pace(one, folder, ended, steps)
            trained = steps * self.state.speeds[one.name][1]  # all of it, where a stopped training went on
            seconds = max(ended.seconds if ended else 0.0, trained)
            items = folder / "val_items.npz"
            try:
                found = self.judge(loaded(self.build(one), folder), items)
            except DataError as error:
                self._drop(one, ended, str(error))
                return f"{one.words} is out: {error}"
            relative = items.relative_to(self.plan.folder)
            rung.results[one.name] = found._replace(items=str(relative), seconds=round(seconds, 1), steps=steps)
            self.save()
        done = rung.results[one.name]
        return f"rung {number + 1}, {one.words}, {done.steps} steps in {duration(done.seconds)}: {said(done)}"

    def _drop(self, one: Candidate, ended: child.Ended | None, reason: str = "") -> None:
        """Take a candidate whose training failed out of the race.

        Raises:
            ConfigError, DataError: it was the last one.
        """
        self.state.out[one.name] = reason or (ended.reason if ended else "it failed")
        self.racing.remove(one)
        for rung in self.state.rungs:
            rung.results.pop(one.name, None)
        self.save()
        if not self.racing:
            raise ended.error(ended.reason) if ended and ended.code else ConfigError(self.state.out[one.name])

    def _fit(self, one: Candidate, steps: int, folder: Path) -> child.Ended | None:
        """Train a candidate for some steps, without validation."""
        own = ["--trainer.max_epochs=-1", f"--trainer.max_steps={steps}", "--trainer.callbacks=null"]
        own += ["--trainer.log_every_n_steps=4"] * (steps == TIMED)
        off = [f"--trainer.limit_{split}_batches=0" for split in ("val", "test")]
        return child.fit([*self.plan.arguments(one), *own, *off], folder, self.lock)


def logged_speeds(folder: Path) -> list[float]:
    """Samples per second that a run logged; none where it has no log."""
    path = folder / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        values = (row.get("train/samples_per_sec") for row in csv.DictReader(file))
        return [float(value) for value in values if value]


def said(found: Judged) -> str:
    """Probe with its interval, and kNN, in words."""
    ends = f"[{100 * found.low:.1f}, {100 * found.high:.1f}]"
    return f"linear probe {100 * found.probe:.1f} % {ends}, kNN {100 * found.knn:.1f} %"
