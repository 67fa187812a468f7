"""Findings of a race so far, in `advise.json`."""

import json
from typing import Any, NamedTuple

from commands.advise.judge import Judged
from commands.advise.plan import Plan
from modules.contracts import DataError, writing


class Rung(NamedTuple):
    """A rung of a race: steps of its candidates, and the results so far, by name."""

    steps: dict[str, int]
    results: dict[str, Judged]


class State:
    """Findings of a race, read where it was interrupted.

    Args:
        plan: of the race.

    Attributes:
        raced: names of the candidates that the budget can race.
        out: candidate -> why it is not, or no longer, in the race.
        bases: start -> its features without any training here.
        speeds: candidate -> seconds of its last training beside its steps, and of each step.
        rungs: of the race.
        seconds: of the race until now.

    Raises:
        DataError: the folder has another race, or a damaged one.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.raced: list[str] = []
        self.out: dict[str, str] = {}
        self.bases: dict[str, Judged] = {}
        self.speeds: dict[str, tuple[float, float]] = {}
        self.rungs: list[Rung] = []
        self.seconds = 0.0
        if plan.begun:
            self._read()

    def _read(self) -> None:
        path = self.plan.folder / "advise.json"
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            typed, self.raced, self.out = known["typed"], list(known["raced"]), dict(known["out"])
            self.bases = {name: Judged(**one) for name, one in known["bases"].items()}
            self.speeds = {name: (float(one[0]), float(one[1])) for name, one in known["speeds"].items()}
            self.seconds = float(known["seconds"])
            for rung in known["rungs"]:
                self.rungs.append(
                    Rung(dict(rung["steps"]), {name: Judged(**one) for name, one in rung["results"].items()})
                )
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged: choose another --run_dir") from error
        if typed != self._typed():
            raise DataError(
                f"{self.plan.folder} has a race of other settings: type what was typed then, or choose another "
                "--run_dir (only --budget may differ)"
            )

    def _typed(self) -> list[str]:
        return [*["--grid"] * self.plan.whole, *self.plan.typed, *(one.name for one in self.plan.candidates)]

    def begin(self, raced: list[str]) -> None:
        """Keep the names of the candidates."""
        self.raced = raced

    @property
    def results(self) -> dict[str, list[Judged]]:
        """Candidate -> what its trainings came to, rung by rung."""
        found: dict[str, list[Judged]] = {}
        for rung in self.rungs:
            for name, one in rung.results.items():
                found.setdefault(name, []).append(one)
        return found

    def save(self, seconds: float, **more: Any) -> None:
        """Write `advise.json` as a whole.

        Args:
            seconds: of the race until now.
            more: further entries, such as the answer.
        """
        self.seconds = round(seconds, 1)
        known: dict[str, Any] = {
            "command": self.plan.command,
            "typed": self._typed(),
            "seconds": self.seconds,
            "raced": self.raced,
            "out": self.out,
            "bases": {name: one._asdict() for name, one in self.bases.items()},
            "speeds": self.speeds,
            "rungs": [
                {"steps": rung.steps, "results": {name: one._asdict() for name, one in rung.results.items()}}
                for rung in self.rungs
            ],
        }
        path = self.plan.folder / "advise.json"
        partial = path.with_suffix(".tmp")
        with writing(path):
            partial.write_text(json.dumps(known | more, indent=2) + "\n", encoding="utf-8")
            partial.replace(path)
