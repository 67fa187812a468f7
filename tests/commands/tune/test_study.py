"""Studies of fits of milliseconds: every trial once, whoever is killed; pruning, failures, budgets, other settings."""

import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import lightning as L
import pytest

from commands import child
from commands.tune import journal
from commands.tune.journal import JOURNAL
from commands.tune.plan import Plan
from commands.tune.report import report, trials_of, write_files
from commands.tune.search import Search
from commands.tune.space import Dimension
from commands.tune.study import Claim, Trials
from commands.tune.watch import Metric
from modules.contracts import ConfigError, DataError
from tests.helpers.commands import ROOT
from tests.helpers.errors import assert_named, refuses

pytest.importorskip("optuna", reason='pip install "graft[tune]"')
pytestmark = pytest.mark.integration  # processes

SPACE = {"model.optim.lr": Dimension(0.0001, 1.0, log=True), "model.frozen": Dimension(choices=(True, False))}
DEFAULT = {"model.optim.lr": 0.002, "model.frozen": None}
METRIC = Metric("val/accuracy", "max", 9, 9)


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(child, "PROGRAM", ROOT / "tests" / "helpers" / "fake_fit.py")
    monkeypatch.setattr(child, "POLL", 0.02)
    monkeypatch.setattr(journal, "GRACE", 3)  # kills hit the lock's milliseconds often here


def search(folder: Path, trials: int | None = 12, sampler: str = "random", **plan) -> Search:
    """A search in a folder; further arguments are those of the plan."""
    given = {"space": None, "budget": None, "seeds": 0, "shown": "", "typed": []} | plan
    folder.mkdir(exist_ok=True)
    found = Trials(folder, dict(SPACE), sampler, "max", 0, METRIC.validations)
    found.begin({"model.backbone": "resnet18", "sampler": sampler}, DEFAULT)
    return Search(Plan(trials=trials, sampler=sampler, folder=folder, **given), found, METRIC, 0)


def process(folder: Path) -> int:
    """A process that searches; returns its id."""
    if pid := os.fork():
        return pid
    try:
        for _line in search(folder).run():
            pass
    finally:
        os._exit(0)


def finished_once(folder: Path) -> Counter:
    """Folder of each trial and the number of times that it came to its end."""
    return Counter(line.split()[0] for line in (folder / "finished.log").read_text().splitlines())


def test_a_killed_process_and_two_at_once_lose_no_trial_and_train_none_twice(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_PAUSE", "0.05")
    first = process(tmp_path)
    while not (tmp_path / "trials" / "001" / "metrics.csv").exists():
        time.sleep(0.01)
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    both = [process(tmp_path), process(tmp_path)]
    for pid in both:
        os.waitpid(pid, 0)
    trials = search(tmp_path).trials
    assert [trial.number for trial in trials.all()] == list(range(12)) and not trials.running()
    done = {f"{trial.number:03d}" for trial in trials.finished()}
    once = finished_once(tmp_path)
    assert done <= once.keys() and set(once.values()) == {1}
    assert len({str(trial.params) for trial in trials.all()[1:]}) == 11


def test_a_search_that_is_killed_again_and_again_equals_one_that_is_not(tmp_path):
    for _ in range(3):
        pid = process(tmp_path / "killed")
        time.sleep(0.4)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for folder in ("killed", "whole"):
        list(search(tmp_path / folder).run())
    killed, whole = (search(tmp_path / folder).trials.all() for folder in ("killed", "whole"))
    assert [trial.params for trial in killed] == [trial.params for trial in whole]
    assert [trial.value for trial in killed if trial.value] and len(killed) == 12


def test_a_trial_that_is_pruned_stops_early_and_the_best_is_finished(tmp_path):
    found = search(tmp_path, trials=15, sampler="tpe")
    lines = list(found.run())
    assert len(lines) == 15 and "the default" in lines[0]
    pruned = [trial for trial in trials_of(found) if trial.state == "pruned"]
    assert pruned and all(len(trial.validations) < 9 for trial in pruned)
    assert not (found.trials.run_folder(pruned[0].number) / "results.json").exists()
    best = trials_of(found)[0]
    assert best.state == "finished" and best.value == max(t.value for t in found.trials.finished())
    write_files(found)
    assert f"# Trial {best.number} of" in (tmp_path / "best.yaml").read_text()


def test_a_grid_is_walked_once_and_then_there_is_nothing_left(tmp_path):
    found = search(tmp_path, trials=None, sampler="grid")
    lines = list(found.run())
    assert len(lines) == 1 + 3 * 2
    assert {trial.params["model.optim.lr"] for trial in found.trials.all()[1:]} == {0.0001, 0.01, 1.0}
    assert list(search(tmp_path, trials=None, sampler="grid").run()) == []


def test_choices_that_are_used_up_end_the_search(tmp_path):
    found = search(tmp_path)
    found.trials.space.pop("model.optim.lr")
    assert len(list(found.run())) == 3  # the default, true and false


def test_a_trial_that_fails_is_told_and_the_search_goes_on_but_not_without_the_default(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_LIMIT", "0.1")
    found = search(tmp_path, trials=8)
    list(found.run())
    failed = [trial for trial in trials_of(found) if trial.state == "failed"]
    assert failed and failed[0].reason == "the loss is nan"
    monkeypatch.setenv("FAKE_LIMIT", "0.001")
    with refuses(DataError, "trial 0", "the loss is nan", tmp_path / "other" / "trials" / "000.log"):
        list(search(tmp_path / "other").run())


def test_a_study_of_another_configuration_is_refused_by_the_setting(tmp_path):
    search(tmp_path)
    trials = Trials(tmp_path, SPACE, "random", "max", 0, 9)
    with refuses(DataError, "model.backbone", "resnet18", "resnet50", "--run_dir"):
        trials.begin({"model.backbone": "resnet50", "sampler": "random"}, DEFAULT)
    newer = {"model.backbone": "resnet18", "sampler": "random", "model.frozen": False}
    with refuses(DataError, "model.frozen", "unset", "False"):
        trials.begin(newer, DEFAULT)
    trials.begin(newer, DEFAULT, lambda then: {"model.frozen": False, **then})
    with refuses(DataError, "sampler", "random", "tpe"):
        trials.begin({"model.backbone": "resnet18", "sampler": "tpe"}, DEFAULT)


def test_a_budget_is_kept_and_a_larger_one_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_PAUSE", "0.1")
    found = search(tmp_path, budget=3.0)
    lines = list(found.run())
    assert "--budget" in lines[-1] and 3.0 <= found.spent() < 4.0
    before = len(found.trials.finished())
    assert found.trials.running() <= 1 and before < 11
    again = search(tmp_path, budget=600.0, trials=before + 2)
    list(again.run())
    assert not again.trials.running() and set(finished_once(tmp_path).values()) == {1}


def test_a_budget_too_small_for_one_trial_is_refused_after_its_first_validations(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_PAUSE", "0.3")
    with refuses(ConfigError, "--budget", "1 s", "--trainer.max_epochs"):
        list(search(tmp_path, budget=1.0).run())


def test_the_best_and_the_default_are_trained_again_on_fresh_seeds(tmp_path):
    found = search(tmp_path, seeds=2)
    list(found.run())
    best = found.trials.finished()[0].number
    assert len(list(found.confirm())) == 4
    assert all(found.confirmation(trial, seed) for trial in (0, best) for seed in (1, 2))
    assert list(found.confirm()) == []


def test_a_claim_is_of_one_process_and_free_when_that_is_dead(tmp_path, monkeypatch):
    path = tmp_path / ".000.claim"
    claim = Claim.take(path)
    assert claim and Claim.take(path) is None
    claim.file.close()  # as the kernel does
    again = Claim.take(path)
    assert again
    again.file.close()
    path.write_text("another machine")
    assert Claim.take(path) is None  # its heart has just beaten
    os.utime(path, (0, 0))
    assert Claim.take(path)


@pytest.mark.timeout(60)
def test_the_lock_of_a_killed_process_is_broken_in_a_folder_named_relatively_and_moved_since(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    list(search(Path("out"), trials=2).run())
    journal.lock(Path("out") / JOURNAL).acquire()
    Path("out").rename("moved")
    assert len(list(search(Path("moved"), trials=3).run())) == 1


def test_a_journal_that_ends_in_the_middle_of_a_line_is_mended(tmp_path):
    list(search(tmp_path, trials=2).run())
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"op_code": 4, "wor')
    found = search(tmp_path, trials=3)
    assert len(list(found.run())) == 1 and len(found.trials.all()) == 3


@pytest.mark.parametrize(
    ("line", "deleted"),
    [('{"op_code":5,"wor', True), ("", True), ('{"op_code":4,"wor', False), ("[1]", False), ("\0\0", False)],
)
def test_a_journal_that_is_damaged_in_the_middle_is_answered_with_the_line(tmp_path, line, deleted):
    search(tmp_path)
    first, _, *rest = (tmp_path / JOURNAL).read_text().splitlines()
    (tmp_path / JOURNAL).write_text("\n".join([first, line, *rest, ""]))
    with refuses(DataError, tmp_path / JOURNAL, "line 2", "--run_dir") as caught:
        search(tmp_path)
    assert ("delete the line" in str(caught.value)) == deleted  # not where it may have begun a trial


def test_a_best_trial_whose_folder_is_gone_leaves_a_report_without_best_yaml(tmp_path, capsys):
    trainer = L.Trainer(logger=False, default_root_dir=tmp_path, accelerator="cpu", enable_checkpointing=False)
    found = search(tmp_path, trials=3)
    list(found.run())
    write_files(found)
    shutil.rmtree(tmp_path / "trials")
    report(found, trainer)
    assert (tmp_path / "best.yaml").is_file() and "next, the best" in capsys.readouterr().out  # of the same trial
    (tmp_path / "best.yaml").write_text("# Trial 99 of another time\n")
    report(found, trainer)
    folder = found.trials.run_folder(trials_of(found)[0].number)
    assert_named(capsys.readouterr().out, "no best.yaml", folder, "--run_dir")
    assert not (tmp_path / "best.yaml").exists() and (tmp_path / "tune.json").is_file()
