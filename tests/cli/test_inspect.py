"""`inspect` from the command line: tables, figures and JSON of a run, and what is refused."""

import csv
import json
from pathlib import Path

import pytest

from tests.helpers.errors import line_naming

FIGURES = {"costs.png", "signals.png", "hessian.png"}


@pytest.mark.usefixtures("drawn_figures")
def test_a_run_is_measured_before_and_after_its_training(graft, trained, capsys, narrow_terminal):
    typed = ["--ckpt_path", str(trained), "--lanczos_steps", "3", "--run_dir", "out", "--data.batch_size=4"]
    assert graft("inspect", *typed) == (0, "")
    said = capsys.readouterr().out.splitlines()
    line_naming(said, "after training", "neither vanishing nor exploding")
    assert max(map(len, said)) <= narrow_terminal
    assert {path.name for path in Path("out/figures").iterdir()} == FIGURES
    found = json.loads(Path("out/inspect.json").read_text())
    assert list(found["layers"]) == ["initialization", "after training"]
    assert found["samples"] == 4 and found["costs"]["parameters"] == 373_658
    assert found["curvature"]["after training, loss"]["parameters"] == 373_658
    with Path("out/layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    (first,) = (row for row in rows if row["state"] == "initialization" and row["name"] == "backbone.net.conv1.0")
    assert first["macs"] == str(4 * 16 * 16 * 16 * 27) and first["shape"] == "4x16x16x16"


def test_what_cannot_be_inspected_is_refused(refused, trained):
    refused(2, ["inspect"], "--ckpt_path", "--config")
    refused(2, ["inspect", "--ckpt_path", str(trained), "--lanczos_steps", "-1"], "--lanczos_steps", "-1")
    refused(1, ["inspect", "--ckpt_path", "nowhere"], "nowhere")
    refused(2, ["inspect", "--ckpt_path", str(trained), "--trainer.precision", "16"], "--trainer.precision", "inspect")
    refused(2, ["inspect", "--config", "tasks/classification.yaml", "--model.compile", "true"], "--model.compile")
    refused(2, ["inspect", "--config", "tasks/classification.yaml", "--layer", "x"], "--layer")
