"""`compare --vary`: a grid of settings from the command line, trained, continued and refused."""

import json
from pathlib import Path

import pytest
import yaml

from tests.helpers.commands import TINY, options
from tests.helpers.errors import assert_named, line_naming

COMPARE = ["compare", "--config", "tasks/classification.yaml", *TINY, "--model.backbone", "test_vit"]
TRANSLATION = (
    "compare --config tasks/translation.yaml --data.train 60 --data.val 8 --data.test 8 --data.workers 0".split()
)
TRANSLATION += "--model.encoder.width 32 --model.decoder.width 32 --trainer.max_epochs 1 --figures.samples 1".split()
TRANSLATION += "--model.search.max_length 8 --trainer.precision 32".split()


def test_a_setting_varies_beside_the_weights_and_finished_runs_are_not_repeated(graft, commands, capsys):
    typed = [*COMPARE, "--vary", "data.label_fraction=0.5,1", "--weights", "none", "--seeds", "1", "--run_dir", "out"]
    assert graft(*typed)[0] == 0
    assert [options(each, "--data.label_fraction", "--model.weights") for each in commands] == [
        ("0.5", "null"),
        ("1", "null"),
    ]
    saved = yaml.safe_load(Path("out/label_fraction=0.5,none/seed0/config.yaml").read_text())
    assert saved["data"]["init_args"]["label_fraction"] == 0.5
    report = json.loads(Path("out/compare.json").read_text())
    half = report["variants"]["label_fraction=0.5,none"]
    assert half == {"settings": {"data.label_fraction": "0.5", "model.weights": None}, "reference": None}
    assert Path("out/figures/compare_label_fraction.png").is_file()
    assert any("label_fraction=1,none" in sentence for sentence in report["verdicts"])
    for row in report["comparison"]:  # of one run, as that run has it itself
        results = json.loads(Path(f"out/{row['variant']}/seed0/results.json").read_text())["results"]
        (interval,) = (each.get("interval") for each in results if each["metric"] == row["metric"])
        assert [row["low"], row["high"]] == (interval or [None, None])
    out = capsys.readouterr().out
    line_naming(out.splitlines(), "[2/2]", "label_fraction=1,none", "seed 0")
    assert_named(out, report["verdicts"][0])
    commands.clear()
    typed[typed.index("data.label_fraction=0.5,1")] = "data.label_fraction=0.5,1,0.25"
    assert graft(*typed)[0] == 0
    assert [options(each, "--data.label_fraction") for each in commands] == [("0.25",)]


def test_tasks_without_a_backbone_are_compared_by_their_settings(graft, commands):
    assert graft(*TRANSLATION, "--vary", "model.label_smoothing=0,0.1", "--seeds", "1", "--run_dir", "out")[0] == 0
    assert len(commands) == 2
    assert json.loads(Path("out/compare.json").read_text())["metric"] == "test/bleu"


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("model.optim.lrr=0.1,0.2", ["model.optim.lrr", "model.optim.lr"]),
        ("model.optim.lr=0.1,few", ["model.optim.lr", "few", "number"]),
        ("model.optim.lr=0.1,-1", ["optim.lr", "-1"]),
        ("model.backbone=test_vit,test_vitt", ["backbone", "test_vitt", "test_vit"]),
        ("model.head=Linear,Linearr", ["model.head", "Linearr", "Linear"]),
        ("data.batch_size=8,0", ["data.batch_size", "0"]),
        ("model.optim.lr=0.1,0.10", ["lr=0.1", "lr=0.10", "same"]),
    ],
)
def test_every_variant_is_built_before_the_first_training(refused, commands, typed, names):
    own = {"--model.backbone", "--data.batch_size"} & {f"--{typed.partition('=')[0]}"}
    places = [i for i, word in enumerate(COMPARE) if {word, COMPARE[i - 1]} & own]
    refused(2, [*(word for i, word in enumerate(COMPARE) if i not in places), "--vary", typed], *names)
    assert not commands
