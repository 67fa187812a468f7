"""Lightning's callbacks that change learning rates and parameters, and unusable user classes."""

import re
import warnings
from pathlib import Path

import pytest
import yaml

from modules.training.transfer import read_checkpoint
from tests.helpers.commands import ROOT, command_line, state, whole_and_killed
from tests.helpers.errors import line_naming
from tests.helpers.forks import forked

TINY = "--data.train 160 --data.val 8 --data.test 8 --data.batch_size 8 --data.workers 0 --data.image_size 32".split()
FIT = ["fit", "--config", "tasks/classification.yaml", *TINY, "--trainer.precision", "32", "--figures.samples", "1"]


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


@pytest.mark.slow
@pytest.mark.parametrize(
    "unfreezing",
    [
        "--trainer.callbacks+ BackboneFinetuning --trainer.callbacks.unfreeze_backbone_at_epoch 1",
        "--model.unfreeze 0:head,1:stage4,2:all",
    ],
    ids=["BackboneFinetuning", "unfreeze"],
)
def test_a_backbone_that_was_unfrozen_before_a_kill_learns_on(tmp_path, unfreezing):
    typed = f"--trainer.max_epochs 3 --trainer.limit_train_batches 3 {unfreezing} --checkpoint.every_n_steps 1"
    fit = ["fit", "--config", str(ROOT / FIT[2]), *FIT[3:], *typed.split()]
    whole_and_killed(fit, 7, tmp_path)
    assert forked(command_line([*fit, "--run_dir", "killed", "--ckpt_path", "auto"]), tmp_path) == [0]
    whole, resumed = (state(tmp_path / run)["state_dict"] for run in ("whole", "killed"))
    assert all(value.equal(resumed[name]) for name, value in whole.items())


def test_a_stage_that_does_not_exist_is_refused_with_those_there_are(refused):
    refused(2, [*FIT, "--model.unfreeze", "0:head,1:stage9"], "model.unfreeze", "stage9", "stage4", "head", "all")


def test_averaged_weights_are_trained_again_by_config_yaml_and_tested_without_advice(graft, capsys):
    typed = "--trainer.max_epochs 2 --trainer.limit_train_batches 2 --trainer.callbacks+ StochasticWeightAveraging"
    typed += " --trainer.callbacks.swa_lrs 0.01 --trainer.callbacks.swa_epoch_start 1 --model.ema_decay 0"
    assert graft(*FIT, *typed.split(), "--run_dir", "run")[0] == 0
    (swa,) = yaml.safe_load(Path("run/config.yaml").read_text())["trainer"]["callbacks"]
    assert swa["init_args"]["device"] == "cpu"
    assert graft("fit", "--config", "run/config.yaml", "--trainer.fast_dev_run", "true", "--run_dir", "again")[0] == 0
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        assert graft("test", "--ckpt_path", "run", "--run_dir", "tested")[0] == 0
    assert not [each for each in given if "ckpt_path" in str(each.message)]


def test_a_training_that_ends_before_its_first_validation_says_so(graft, capsys):
    assert graft(*FIT, "--trainer.max_steps", "1", "--run_dir", "run")[0] == 0
    line_naming(capsys.readouterr().out.splitlines(), "step 1", "validation", "--trainer.val_check_interval")


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


def test_continued_pretraining_reads_the_data_of_the_run_that_it_starts_from(graft, trained, capsys):
    monitor = f"--model.weights {trained} --trainer.callbacks+ ForgettingMonitor --trainer.callbacks.run {trained}"
    few = "--trainer.max_steps 1 --trainer.callbacks.k 3 --trainer.limit_val_batches 0"
    assert graft(*FIT, *monitor.split(), *few.split(), "--run_dir", "run")[0] == 0
    logged = Path("run/metrics.csv").read_text().splitlines()[0]
    assert "val/knn_old" in logged.split(",")
    assert Path("run/figures/forgetting.png").is_file()
