"""Lightning's callbacks that change learning rates and parameters, and unusable user classes."""

import re
from pathlib import Path

import pytest

from modules.transfer import read_checkpoint

TINY = "--data.train 160 --data.val 8 --data.test 8 --data.batch_size 8 --data.workers 0 --data.image_size 32".split()
FIT = ["fit", "--config", "tasks/classification.yaml", *TINY, "--trainer.precision", "32"]


def test_a_rate_that_the_finder_suggests_is_trained_with(graft, capsys, caplog):
    finder = "--trainer.max_steps 2 --trainer.callbacks+ LearningRateFinder --trainer.callbacks.num_training_steps 30"
    assert graft(*FIT, *finder.split(), "--run_dir", "run")[0] == 0
    suggested = re.search(r"--model\.optim\.lr ([\d.e-]+)", caplog.text)
    assert suggested
    assert f" {suggested[1]}\n" in capsys.readouterr().out


def test_a_backbone_that_is_unfrozen_learns_from_then_on(graft):
    typed = "--trainer.max_epochs 2 --trainer.limit_train_batches 3 --trainer.callbacks+ BackboneFinetuning"
    weights = []
    for run, epoch in (("frozen", 5), ("unfrozen", 1)):
        at = ["--trainer.callbacks.unfreeze_backbone_at_epoch", str(epoch)]
        assert graft(*FIT, *typed.split(), *at, "--run_dir", run)[0] == 0
        weights.append(read_checkpoint(Path(run, "checkpoints/last.ckpt"))["state_dict"])
    convolutions = [name for name, value in weights[0].items() if "backbone" in name and value.ndim == 4]
    assert convolutions and not any(weights[0][name].equal(weights[1][name]) for name in convolutions)


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("--model mine.Missing", ["model", "mine.Missing"]),
        ("--model broken.Mine", ["model", "broken.Mine", "not_installed_package"]),
        ("--trainer.callbacks+ mine.Nope", ["trainer.callbacks", "mine.Nope"]),
        ("--data mine.Plain", ["data", "mine.Plain", "datamodules.base.DataModule"]),
    ],
)
def test_what_cannot_be_built_is_named(refused, monkeypatch, tmp_path, typed, names):
    Path("mine.py").write_text("class Plain:\n    pass\n")
    Path("broken.py").write_text("import not_installed_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    refused(2, [*FIT, *typed.split()], *names)
