"""Six steps to a tuned training: first steps that are real, searches of fits of milliseconds."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from commands import child
from commands.tune.findings import Finding, Findings
from commands.tune.narrowing import at_edge, narrowed
from commands.tune.plan import Plan
from commands.tune.space import Dimension
from commands.tune.steps import Steps
from commands.tune.watch import Metric
from modules.contracts import DataError
from tests.helpers.commands import ROOT
from tests.helpers.errors import assert_named, refuses
from tests.helpers.training import quiet

pytest.importorskip("optuna", reason='pip install "graft[tune]"')
pytestmark = pytest.mark.integration  # processes

LR = "model.optim.lr"
SETTINGS = {LR: 0.002, "model.frozen": False}
METRIC = Metric("val/accuracy", "max", 9, 9)


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(child, "PROGRAM", ROOT / "tests" / "helpers" / "fake_fit.py")
    monkeypatch.setattr(child, "POLL", 0.02)
    monkeypatch.setenv("FAKE_PAUSE", "0.001")


class First:
    """First steps that have found a learning rate."""

    def __init__(self, lr: float | None = 0.05):
        self.lr, self.taken = lr, []

    def initial_loss(self) -> Finding:
        self.taken.append("initial loss")
        return Finding("The loss is as at chance.", {"loss": 2.3}, True)

    def by_heart(self) -> Finding:
        self.taken.append("by heart")
        return Finding("Learned by heart.", {}, True)

    def range_test(self) -> Finding:
        self.taken.append("range test")
        return Finding("Found.", {"lr": self.lr}, True)


def steps(folder: Path, first: First | None, **changes) -> Steps:
    space = {LR: Dimension(0.0002, 0.02, log=True), "model.frozen": Dimension(choices=(True, False))}
    plan = Plan(None, 6, changes.pop("budget", None), "tpe", 0, "", folder, [], True)
    findings = Findings(folder, SETTINGS | changes, lambda then: {"model.frozen": False, **then})
    return Steps(plan, space, METRIC, findings, 0, first, quiet(default_root_dir=folder))


def test_steps_go_from_coarse_to_fine_and_end_on_a_page(tmp_path):
    lines = list(steps(tmp_path, First()).walk("tune --steps"))
    assert [line.split(":")[0] for line in lines[:6]] == [
        f"step {number} of 6, {title}"
        for number, title in enumerate(
            (
                "initial loss",
                "a few samples by heart",
                "learning-rate range test",
                "coarse search",
                "fine search",
                "learning curves",
            ),
            start=1,
        )
    ]
    found = json.loads((tmp_path / "steps.json").read_text())["steps"]
    coarse, fine = found["Coarse search"]["values"], found["Fine search"]["values"]
    assert coarse["space"][LR] == {"low": 0.005, "high": 0.5, "log": True}  # around the rate of the range test
    wide, near = (space[LR]["high"] / space[LR]["low"] for space in (coarse["space"], fine["space"]))
    assert near == pytest.approx(wide ** (1 / 3), rel=0.02)
    assert list(fine["space"]) == [LR] and fine["best"]["model.frozen"] == coarse["best"]["model.frozen"]
    assert_named((tmp_path / "coarse/trials/000.log").read_text() + str(coarse["run"]), "coarse/trials")
    page = (tmp_path / "report.html").read_text()
    assert_named(page, "1. Initial loss", "6. Learning curves", "coarse_search", "fine_search", "tune --steps")
    assert yaml.safe_load((tmp_path / "best.yaml").read_text())[LR] == fine["best"][LR]


def test_steps_that_are_done_are_not_repeated(tmp_path):
    first = First()
    walk = steps(tmp_path, first).walk("tune --steps")
    next(walk), next(walk)
    walk.close()
    again = First()
    lines = list(steps(tmp_path, again).walk("tune --steps"))
    assert first.taken == ["initial loss", "by heart"] and again.taken == ["range test"]
    finished = (tmp_path / "coarse" / "finished.log").read_text()
    assert list(steps(tmp_path, None).walk("tune --steps"))[:6] == lines[:6]
    assert (tmp_path / "coarse" / "finished.log").read_text() == finished
    with refuses(DataError, LR, 0.002, 0.5, "--run_dir"):
        steps(tmp_path, None, **{LR: 0.5})
    text = (tmp_path / "steps.json").read_text()
    older = text.replace('"model.frozen": false', '"model.gone": false', 1).replace('    "model.gone": false\n', "")
    older = older.replace("0.002,\n  }", "0.002\n  }")
    (tmp_path / "steps.json").write_text(older)
    assert "model.frozen" not in json.loads(older)["settings"]  # as before that setting existed
    steps(tmp_path, None)
    found = json.loads(text)
    del found["steps"]["Learning curves"]
    (tmp_path / "steps.json").write_text(json.dumps(found))
    shutil.rmtree(tmp_path / "fine")
    with refuses(DataError, tmp_path / "fine" / "best.yaml", "gone", "--run_dir"):
        list(steps(tmp_path, None).walk("tune --steps"))
    (tmp_path / "steps.json").write_text(text[:-20])
    with refuses(DataError, tmp_path / "steps.json", "damaged", "--run_dir"):
        steps(tmp_path, None)


def test_a_task_that_the_first_steps_do_not_suit_is_searched_around_its_own_rate(tmp_path):
    lines = list(steps(tmp_path, None).walk("tune --steps"))
    assert_named(lines[0], "two optimizers")
    coarse = json.loads((tmp_path / "steps.json").read_text())["steps"]["Coarse search"]["values"]
    assert coarse["space"][LR] == {"low": 0.0002, "high": 0.02, "log": True}


def test_a_range_is_narrowed_around_its_best_value():
    space = {
        "a": Dimension(1e-4, 1e-2, log=True),
        "b": Dimension(0, 0.6),
        "c": Dimension(2, 20, whole=True),
        "d": Dimension(choices=(1, 2)),
    }
    found = narrowed(space, {"a": 1e-2, "b": 0.0, "c": 11, "d": 2})
    assert found["a"].low == pytest.approx(10 ** (-2 - 1 / 3), rel=0.01)
    assert found["a"].high == pytest.approx(10 ** (-2 + 1 / 3), rel=0.01)  # beyond the edge
    assert (found["b"].low, found["b"].high) == (0, pytest.approx(0.1))
    assert (found["c"].low, found["c"].high, found["c"].whole) == (8, 14, True)
    assert "d" not in found
    assert at_edge(space, {"a": 9e-3, "b": 0.3, "c": 20, "d": 2}) == ["a", "c"]
