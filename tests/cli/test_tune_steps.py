"""`tune --steps` by the command line: the first steps with the real network, the searches with fits of milliseconds."""

import json
from pathlib import Path

import pytest

from commands import child
from tests.helpers.commands import ROOT, TINY
from tests.helpers.errors import assert_named

pytest.importorskip("optuna", reason='pip install "graft[tune]"')

STEPS = ["tune", "--config", "tasks/classification.yaml", *TINY, "--data.train", "64", "--model.backbone", "test_vit"]
STEPS += ["--steps", "--trials", "3", "--run_dir", "out"]


def test_the_first_steps_are_taken_with_the_network_and_the_data(graft, monkeypatch, capsys):
    monkeypatch.setattr(child, "PROGRAM", ROOT / "tests" / "helpers" / "fake_fit.py")
    monkeypatch.setattr(child, "POLL", 0.02)
    monkeypatch.setenv("FAKE_PAUSE", "0.001")
    assert graft(*STEPS)[0] == 0
    out = capsys.readouterr().out
    assert_named(out, "step 1 of 6", "2.303", "step 6 of 6", "out/best.yaml")
    found = json.loads(Path("out/steps.json").read_text())["steps"]
    assert found["Initial loss"]["values"]["chance"] == pytest.approx(2.303, abs=1e-3)
    by_heart = found["A few samples by heart"]["values"]
    assert by_heart["last"] < 0.05 * by_heart["first"]
    assert found["Learning-rate range test"]["values"]["lr"]
    assert Path("out/figures/lr_finder.png").is_file()


@pytest.mark.parametrize(
    ("typed", "names"), [(["--find_lr", "true"], ["--find_lr", "--steps"]), (["--ckpt_path", "x"], ["--ckpt_path"])]
)
def test_what_does_not_go_with_the_steps_is_refused(refused, typed, names):
    refused(2, [*STEPS, *typed], *names)
