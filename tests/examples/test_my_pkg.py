"""The parts in `examples/my_pkg` run as the guide to extending shows them, from the folder that holds them."""

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from commands.plugins import load_plugins
from commands.predictor import Predictor
from modules.contracts import ConfigError
from tests.helpers.commands import ROOT, values
from tests.helpers.errors import refuses

STEP = "--trainer.max_epochs 1 --trainer.log_every_n_steps 1 --trainer.precision 32 --data.workers 0".split()
FEW = "--data.train 8 --data.val 4 --data.test 4".split()
SMALL = [*STEP, *"--data.batch_size 4 --model.backbone my_pkg.MyNet --model.backbone.width 8".split()]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with `my_pkg` in it, which is not on the import path."""
    shutil.copytree(ROOT / "examples" / "my_pkg", tmp_path / "my_pkg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr("sys.argv", ["cli.py"])
    monkeypatch.setattr("sys.path", [path for path in sys.path if path])
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_pkg"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def graft(here):
    """Runs the command line, which must succeed."""
    import cli

    def run(*argv: str) -> None:
        assert cli.main(list(argv)) == 0

    return run


def test_a_task_with_its_data_callback_and_logger(graft, here):
    own = "--data my_pkg.MyData --data.count 16 --trainer.callbacks+ my_pkg.MyCallback --trainer.logger my_pkg.MyLogger"
    graft("fit", "--model", "my_pkg.MyTask", *own.split(), *SMALL, "--model.beta", "0.5", "--run_dir", "run")
    with (here / "run" / "metrics.csv").open() as file:
        assert any(row["train/gradient_norm"] for row in csv.DictReader(file))
    assert any("val/mae" in json.loads(line) for line in (here / "metrics.jsonl").read_text().splitlines())
    graft("test", "--ckpt_path", "run", "--run_dir", "tested", "--trainer.precision", "32")
    tested = values("tested")
    assert tested.keys() == {"test/mae", "test/loss"}
    assert tested.items() <= values("run").items()
    rows = (here / "tested" / "predictions" / "test.csv").read_text().splitlines()
    assert (rows[0], len(rows)) == ("path,number,true", 5)
    assert (here / "tested" / "figures" / "test_numbers.png").is_file()


def test_a_backbone_and_a_neck_in_another_task(graft, here):
    config = str(ROOT / "tasks" / "semantic_segmentation.yaml")
    neck = "--model.neck my_pkg.MyNeck --model.neck.channels 8 --model.head SemanticFPN"
    graft("fit", "--config", config, *SMALL, *FEW, *neck.split(), "--run_dir", "run")
    assert "my_pkg.MyNeck" in (here / "run" / "config.yaml").read_text()


def test_a_head_and_a_plain_dataset_in_another_task(graft, here):
    head = "--model.head my_pkg.MyHead --model.head.hidden 8"
    data = "--data FromDataset --data.image_size 32 --data.train my_pkg.MyDataset --data.train.count 16"
    graft("fit", "--model", "Classification", *data.split(), *SMALL, *head.split(), "--run_dir", "run")
    settings = yaml.safe_load((here / "run" / "config.yaml").read_text())
    assert settings["model"]["init_args"]["classes"] == ["upright", "level"]
    graft("validate", "--ckpt_path", "run", "--run_dir", "validated")


HEADS = """
from my_pkg.head import MyHead
from modules.contracts import Features
from modules.heads.base import ClassificationHead

def narrow(features: Features, outputs: int) -> ClassificationHead:
    return MyHead(features, outputs, 8)
"""


@pytest.fixture
def by_a_function(graft, here):
    """A run whose head is made by a function: unlike classes, it is called only where the user names it."""
    (here / "my_heads.py").write_text(HEADS)
    head = "--model.head my_heads.narrow --data.test my_pkg.MyDataset --data.test.count 64"
    data = "--data FromDataset --data.image_size 32 --data.train my_pkg.MyDataset --data.train.count 16"
    graft("fit", "--model", "Classification", *data.split(), *SMALL, *head.split(), "--run_dir", "run")
    yield here / "run"
    del sys.modules["my_heads"]


def test_a_function_is_trusted_where_it_is_named_as_the_next_commands_do(capsys, by_a_function):
    assert " export --config run/config.yaml --ckpt_path run\n" in capsys.readouterr().out
    with refuses(ConfigError, "my_heads.narrow"):
        Predictor.load(by_a_function)
    assert Predictor.load(by_a_function, named=("--model.head", "my_heads.narrow")).classes == ["upright", "level"]


@pytest.mark.slow
def test_the_gate_of_an_export_trusts_what_the_export_names(graft, by_a_function):
    graft("export", "--ckpt_path", "run", "--config", "run/config.yaml")
    assert (by_a_function / "model.onnx").is_file()


def install(folder: Path, module: str) -> None:
    """Metadata of an installed package `my-pkg` whose plugin is that module."""
    info = folder / "my_pkg-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-pkg\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[graft.plugins]\nmine = {module}\n")


def test_a_plugin_brings_short_names(graft, here):
    install(here, "my_pkg")
    data = "--data MyData --data.count 16"
    graft("fit", "--model", "MyTask", *data.split(), *SMALL, "--run_dir", "run")


def test_a_plugin_that_ends_the_program_is_named(here):
    (here / "my_ending_pkg.py").write_text("import sys\nsys.exit(5)\n")
    install(here, "my_ending_pkg")
    with refuses(ConfigError, "mine", "my_ending_pkg", "my-pkg"):
        load_plugins()


def test_a_plugin_that_fails_is_named(here):
    install(here, "my_broken_pkg")
    with refuses(ConfigError, "mine", "my_broken_pkg", "my-pkg"):
        load_plugins()
