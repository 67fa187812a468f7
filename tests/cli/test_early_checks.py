"""Mistakes that are answered before the imports that take seconds."""

import inspect
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tasks
from commands.aliases import MEANT, OF_TASKS
from commands.arguments import normalized
from commands.checkpoints import find_checkpoint, resolve_weights
from commands.early_checks import COMMON, OWN, SECTIONS, check_early
from datamodules.setting_roles import arguments_of
from modules.contracts import ConfigError, DataError
from tests.helpers.commands import ROOT
from tests.helpers.errors import refuses, sentence

FIT = ["fit", "--config", str(ROOT / "tasks/simclr.yaml")]


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["fti"], "fit"),
        ([], "--config"),
        (["fit", "--config", str(ROOT / "tasks/simclr.yml")], "simclr.yaml"),
        ([*FIT, "--lr", "1"], "--model.optim.lr"),
        ([*FIT, "--batch_size=4"], "--data.batch_size"),
        ([*FIT, "--batch-size=4"], "--data.batch_size"),
        ([*FIT, "--epochs", "4"], "--trainer.max_epochs"),
        ([*FIT, "--trainr.max_steps", "4"], "trainer.max_steps"),
        ([*FIT, "--temperature", "4"], "--model."),
        ([*FIT, "--num_images", "4"], "--num_images"),  # of evaluate
        (["test", *FIT[1:]], "--ckpt_path"),
        (["predict"], "--ckpt_path"),
        (["fit", "--model", "SimCLR"], "--data"),
        (["fit", "--data.batch_size", "4"], "--config"),
        # paths that no file can have
        (["predict", "--ckpt_path="], "--ckpt_path"),
        (["fit", "--config", ""], "--config"),
        ([*FIT, "--run_dir", ""], "--run_dir"),
        ([*FIT, "--model.weights", ""], "--model.weights"),
        ([*FIT, "--data.root="], "--data.root"),
        (["fit", "--config", "x" * 300], "--config"),
        (["test", "--ckpt_path", "x" * 300], "--ckpt_path"),
        (["fit", "--config", "~nobody-of-that-name/x"], "nobody-of-that-name"),
        (["test", "--ckpt_path", "~nobody-of-that-name/x"], "nobody-of-that-name"),
        # other files than YAMLs
        (["fit", "--config", str(ROOT / "tasks")], "folder"),
        (["fit", "--config", str(ROOT / "tasks/simclr")], "simclr.yaml"),
    ],
)
def test_a_mistake_is_answered_with_what_to_type(argv, name):
    with refuses(ConfigError, name):
        check_early(argv)


def test_a_deleted_working_directory_is_answered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with refuses(ConfigError, "working directory", "deleted"):
        check_early(["fit"])


def test_what_is_right_passes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_early([*FIT, "--model.optim.lr", "-1", "--trainer.callbacks+=KNN", "--print_config"])
    check_early(["fit", "-h"])
    check_early(["fit", "--model.help", "Captioning"])
    check_early(["fit", "--model.class_path=SimCLR", "--data", "Shapes"])
    check_early(["fit", "--config", '{"model": "SimCLR"}'])
    check_early(["compare", *FIT[1:], "--weights", "none", "--seeds=2"])
    with refuses(DataError, "latest"):
        check_early(["predict", "--ckpt_path", "latest"])


def test_the_program_answers_without_importing_lightning():
    code = "import sys, commands.early_checks; print('lightning' in sys.modules, 'timm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_signal_during_the_imports_is_answered():
    code = "import os, commands.early_checks as e; e.end_imports_by_signals(); os.kill(os.getpid(), 15)"
    done = subprocess.run([sys.executable, "-c", code, "fit"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGTERM
    assert "before the first step" in done.stdout and not done.stderr


def test_top_level_options_are_those_of_the_parser(graft, capsys):
    from commands.evaluate import Trainer

    with pytest.raises(SystemExit):
        graft("fit", "--config", "tasks/simclr.yaml", "--print_config")
    assert set(yaml.safe_load(capsys.readouterr().out)) <= {*COMMON, *SECTIONS}
    own = set(inspect.signature(Trainer.evaluate).parameters) - {"self", "model", "datamodule", "ckpt_path"}
    assert own == set(OWN["evaluate"])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("model.lr", "model.optim.lr"),
        ("trainer.batch_size", "data.batch_size"),
        ("data.epochs", "trainer.max_epochs"),
        ("model.optim.elastic_net", "model.optim.l1"),
        ("model.maxout", "model.activation maxout"),
        ("mixup", "model.mixup"),
    ],
)
def test_a_setting_at_another_place_is_answered_with_its_own(refused, typed, meant):
    refused(2, [*FIT, f"--{typed}", "1"], f"--{meant}")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("model.label_smoothing 0.1", "--model.head.label_smoothing"),
        ("model.optim.optimizer SAM", "--model.optim.sam"),
        ("model.optim.optimizer sgd", "'SGD'"),
        ("data.mean_image true", "--data.normalization mean_image"),
    ],
)
def test_techniques_are_found_by_their_names(refused, typed, meant):
    refused(2, ["fit", "--config", str(ROOT / "tasks/classification.yaml"), *f"--{typed}".split()], meant)


@pytest.mark.parametrize(
    ("task", "typed", "names"),
    [
        ("classification", "--model.norm_pix_loss", ["--model.normalize_pixels", "MAE"]),
        ("classification", "--norm_pix_loss", ["--model.normalize_pixels", "MAE"]),
        ("simclr", "--model.teacher_model", ["--model.distill.teacher", "Classification"]),
        ("simclr", "--model.mask_ratio", ["DINO", "MAE"]),
    ],
)
def test_a_setting_that_other_tasks_have_is_answered_with_these(refused, task, typed, names):
    refused(2, ["fit", "--config", str(ROOT / f"tasks/{task}.yaml"), typed, "1"], typed, *names)


def test_options_that_few_tasks_have_name_them():
    every = [task for task in vars(tasks).values() if inspect.isclass(task) and issubclass(task, tasks.Task)]
    found = {}
    for option in {meant.partition(" ")[0] for meant in MEANT.values() if meant.startswith("model.")}:
        having = [task.__name__ for task in every if option.split(".")[1] in arguments_of(task)]
        found |= {option: ", ".join(sorted(having))} if len(having) < 3 else {}
    assert found == OF_TASKS


def test_aliases_lead_to_settings_that_exist(graft, capsys):
    configs = []
    for task in ("classification", "mae", "dino"):
        with pytest.raises(SystemExit):
            graft("fit", "--config", f"tasks/{task}.yaml", "--data", "ImageFolder", "--data.root=x", "--print_config")
        configs.append(yaml.safe_load(capsys.readouterr().out))

    def exists(name: str, place: dict) -> bool:
        for part in name.partition(" ")[0].removesuffix("+").split("."):
            place = place if part in place else place.get("init_args", {})
            if part not in place:
                return False
            place = place[part]
        return True

    names = set(MEANT.values()) - {"ckpt_path"}
    assert [name for name in names if not any(exists(name, config) for config in configs)] == []


def test_what_sweep_agents_send_is_taken(graft):
    assert normalized(["--a", "None", "--a.b=None", "--c=[None]"]) == ["--a", "null", "--a.b=null", "--c=[None]"]
    assert normalized(["--a-b.c-d=x-y", "--run-dir", "z-1"]) == ["--a_b.c_d=x-y", "--run_dir", "z-1"]
    sent = ["--model.small-images=True", "--trainer.log-every-n-steps=5", "--model.optim.weight-decay=1e-05"]
    sent += ["--model.weights=None", "--model.optim.lr", "None", "--trainer.max_steps=-1", "--tensorboard=False"]
    sent += ["--ckpt_path", "None", "--trainer.gradient_clip_val=null", "--model.frozen=False", "--trainer.logger=True"]
    tiny = "--data.train 16 --data.val 8 --data.test 8 --data.batch_size 8 --data.workers 0 --data.image_size 32"
    fast = "--trainer.fast_dev_run=True --trainer.precision 32".split()
    code, error = graft("fit", "--config", "tasks/classification.yaml", *tiny.split(), *sent, *fast)
    assert code == 0, error


def test_a_folder_of_runs_stands_for_its_latest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = Path("runs/simclr")
    for name in ("2026-01-01_10-00-00", "2026-01-02_10-00-00"):
        (runs / name / "checkpoints").mkdir(parents=True)
        (runs / name / "checkpoints" / "last.ckpt").write_bytes(b"")
    assert resolve_weights("runs/simclr") == "runs/simclr/2026-01-02_10-00-00"
    (runs / "latest").symlink_to("2026-01-01_10-00-00")
    assert resolve_weights("runs/simclr") == "runs/simclr/2026-01-01_10-00-00"
    assert find_checkpoint("runs/simclr", "simclr", resume=True).parts[-3] == "2026-01-01_10-00-00"
    inside = find_checkpoint("runs/simclr/2026-01-02_10-00-00/checkpoints", "simclr", resume=True)
    assert inside.parts[-3] == "2026-01-02_10-00-00"


def test_an_installation_without_a_package_says_how_to_install_it():
    blocked = "import runpy, sys; sys.modules['torch'] = None; runpy.run_path('cli.py', run_name='__main__')"
    run = subprocess.run([sys.executable, "-c", blocked], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    sentence(run.stderr, "torch", "pip install")
