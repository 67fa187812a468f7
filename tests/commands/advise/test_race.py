"""Rungs of a race, candidates that a budget can race, and steps for equal time, with trainings that are faked."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from commands import child
from commands.advise import race as module
from commands.advise.answer import table_rows
from commands.advise.judge import Judged
from commands.advise.plan import Candidate, Plan, rungs
from commands.advise.race import TIMED, Race
from commands.advise.state import State
from modules.contracts import ConfigError, DataError

NAMES = ("simclr", "vicreg", "dino", "swav", "byol")


@pytest.mark.parametrize(("count", "expected"), [(1, [1]), (2, [2]), (5, [5, 3, 2]), (8, [8, 4, 2])])
def test_each_rung_has_half_of_the_last_until_two_are_left(count, expected):
    assert rungs(count) == expected


def test_the_budget_decides_how_many_are_raced():
    plan = Plan([], 60.0, Path(), [])
    assert plan.affordable == 2
    assert plan._replace(budget=plan.needed(8)).affordable == 8
    assert plan._replace(budget=plan.needed(8) - 1).affordable < 8
    assert plan._replace(budget=plan.needed(8), whole=True).affordable > 8


def test_a_grid_gives_all_candidates_the_same_time(begin):
    clock = Clock({"simclr": 0.1, "vicreg": 0.4, "dino": 0.2})
    race = begin(clock, {"simclr": 0.3, "vicreg": 0.2, "dino": 0.4}, whole=True)
    list(race.run())
    trained = [(where, 5 + steps * clock.pace[name]) for where, name, steps in clock.trained if where != "speed"]
    assert {where for where, _ in trained} == {"rung1"}
    assert max(seconds for _, seconds in trained) < 1.2 * min(seconds for _, seconds in trained)


class Clock:
    """A clock that trainings move on: some seconds of overhead, and each step of a candidate at its own pace."""

    def __init__(self, pace: dict[str, float]):
        self.now, self.pace, self.trained = 0.0, pace, []
        self.broken: set[str] = set()

    def monotonic(self) -> float:
        return self.now

    def fit(self, arguments, folder: Path, lock=None):
        name = folder.name
        steps = int(next(word for word in arguments if word.startswith("--trainer.max_steps")).partition("=")[2])
        seconds = 5 + steps * self.pace[name]
        self.now += seconds
        self.trained.append((folder.parent.name, name, steps))
        if name in self.broken:
            log = folder.with_name(f"{name}.log")
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("error: the loss is not a number\n")
            return child.Ended(1, log, seconds)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.csv").write_text(f"step,train/samples_per_sec\n3,{64 / self.pace[name]}\n")
        return child.Ended(0, folder, seconds)


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """A function that begins a race, or goes on with it, whose probes are given by name."""

    def race(clock: Clock, probes: dict[str, float], whole: bool = False) -> Race:
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic))
        monkeypatch.setattr(module.child, "fit", clock.fit)
        monkeypatch.setattr(module, "loaded", lambda task, folder: task)

        def judge(task: str, items: Path) -> Judged:
            value = probes[task]
            if np.isnan(value):
                raise DataError("its features are not finite")
            return Judged(value, value - 0.1, value + 0.1, value, "probe", str(items))

        candidates = [Candidate(Path(f"{name}.yaml"), "none", None) for name in probes]
        plan = Plan(candidates, 1000.0, tmp_path, [], whole)
        return Race(plan, candidates, State(plan), judge, lambda one: one.name, lambda one: 64, None)

    return race


def test_the_better_half_goes_on_and_the_best_wins(begin):
    clock = Clock(dict.fromkeys(NAMES, 0.1))
    race = begin(clock, dict(zip(NAMES, (0.3, 0.6, 0.5, 0.7, 0.2), strict=True)))
    list(race.run())
    reached = {rung: {name for where, name, _ in clock.trained if where == rung} for rung in ("rung2", "rung3")}
    assert reached == {"rung2": {"swav", "vicreg", "dino"}, "rung3": {"swav", "vicreg"}}
    assert race.racing[0].name == "swav"


def test_candidates_of_a_rung_get_equal_time_and_all_of_it_is_the_budget(begin):
    clock = Clock({"simclr": 0.1, "vicreg": 0.4, "dino": 0.2, "swav": 0.1, "byol": 0.3})
    race = begin(clock, dict(zip(NAMES, (0.3, 0.6, 0.5, 0.7, 0.2), strict=True)))
    list(race.run())
    last = {name: 5 + steps * clock.pace[name] for where, name, steps in clock.trained if where == "rung3"}
    assert last["swav"] == pytest.approx(last["vicreg"], rel=0.1)
    assert clock.now == pytest.approx(1000, rel=0.05)


def test_a_race_goes_on_with_the_steps_that_were_planned(begin):
    probes = dict(zip(NAMES, (0.3, 0.6, 0.5, 0.7, 0.2), strict=True))
    clock = Clock(dict.fromkeys(NAMES, 0.1))
    lines = begin(clock, probes).run()
    for _ in range(5):  # the start, the candidates, three of the first rung
        next(lines)
    before = len(clock.trained)
    again = begin(clock, probes)
    list(again.run())
    first = [(name, steps) for where, name, steps in clock.trained if where == "rung1"]
    assert len(dict(first)) == len(first) == 5  # none twice
    assert len({steps for _, steps in first}) == 1
    assert [where for where, *_ in clock.trained[before:]].count("speed") == 0


def test_a_candidate_that_fails_is_out_with_its_reason(begin):
    clock = Clock(dict.fromkeys(NAMES, 0.1))
    clock.broken = {"vicreg"}
    race = begin(clock, dict(zip(NAMES, (0.3, 0.9, 0.5, 0.7, 0.2), strict=True)))
    list(race.run())
    assert race.state.out == {"vicreg": "the loss is not a number"}
    assert race.racing[0].name == "swav"


def test_features_that_are_not_finite_are_out(begin):
    race = begin(Clock(dict.fromkeys(NAMES, 0.1)), {"dino": 0.4, "simclr": np.nan, "swav": 0.2})
    list(race.run())
    assert race.state.out == {"simclr": "its features are not finite"}


def test_a_race_without_a_candidate_left_tells_the_reason(begin):
    clock = Clock({"simclr": 0.1})
    clock.broken = {"simclr"}
    with pytest.raises((ConfigError, DataError), match="not a number"):
        list(begin(clock, {"simclr": 0.3}).run())


def test_timing_takes_few_steps(begin):
    clock = Clock({"simclr": 0.1, "dino": 0.1})
    list(begin(clock, {"simclr": 0.3, "dino": 0.4}).run())
    assert [steps for where, _, steps in clock.trained if where == "speed"] == [TIMED, TIMED]


def test_a_race_goes_on_after_a_training_that_outlived_it(begin, tmp_path, monkeypatch):
    clock = Clock({"simclr": 0.1, "dino": 0.1})
    race, whole = begin(clock, {"simclr": 0.3, "dino": 0.4}), clock.fit
    there = tmp_path / "speed" / "simclr"
    clock.fit([f"--trainer.max_steps={TIMED}"], there)
    monkeypatch.setattr(module.child, "fit", lambda words, at, lock: None if at == there else whole(words, at))
    list(race.run())
    assert race.state.speeds["simclr"][1] == pytest.approx(0.1)
    assert race.racing[0].name == "dino"


def test_trainings_without_a_log_are_timed_by_their_seconds(begin, monkeypatch):
    clock = Clock({"simclr": 0.1, "dino": 0.2})
    race = begin(clock, {"simclr": 0.3, "dino": 0.4})
    monkeypatch.setattr(module, "logged_speeds", lambda folder: [])
    list(race.run())
    assert race.racing[0].name == "dino"


def test_the_table_has_the_seconds_of_a_step_without_those_of_the_start(begin):
    race = begin(Clock({"simclr": 0.1, "dino": 0.25}), {"simclr": 0.3, "dino": 0.4})
    list(race.run())
    assert {row[0]: row[-1] for row in table_rows(race)} == {
        "dino": "0.25",
        "simclr": "0.10",
        "none, random weights": "",
    }


def test_a_training_that_logs_no_speed_keeps_the_measured_one(begin, monkeypatch):
    clock = Clock({"simclr": 0.1, "dino": 0.2})
    race, logged = begin(clock, {"simclr": 0.3, "dino": 0.4}), module.logged_speeds
    monkeypatch.setattr(module, "logged_speeds", lambda at: logged(at) if at.parent.name == "speed" else [])
    list(race.run())
    assert {name: pace for name, (_, pace) in race.state.speeds.items()} == pytest.approx(clock.pace)
