"""W&B, TensorBoard and MLflow of a pretraining and the fine-tuning that starts from it, read back from their files."""

import csv
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb

from callbacks.loggers.build import build_loggers
from callbacks.loggers.mlflow_run import PATIENCE
from tests.helpers.commands import ROOT, TINY, in_this_process, results
from tests.helpers.errors import line_naming
from tests.helpers.wandb_records import Logged

SMALL = [*TINY, "--trainer.log_every_n_steps", "1", "--model.backbone", "test_resnet"]
VARIABLES = {
    "PROJECT": "their_project",
    "ENTITY": "their_team",
    "RUN_GROUP": "their_group",
    "TAGS": "their_tag,another",
    "NAME": "their_name",
    "NOTES": "their_notes",
    "JOB_TYPE": "their_job",
}


@contextmanager
def offline(place: Path) -> Iterator[pytest.MonkeyPatch]:
    """Work in a folder, with W&B offline and none of its other variables."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
            patch.delenv(name)
        patch.chdir(place)
        wandb.teardown()  # a service of other tests may have ended
        patch.setattr("sys.argv", ["cli.py"])
        patch.setenv("WANDB_MODE", "offline")
        patch.setattr("logging.raiseExceptions", False)
        yield patch


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder of the runs `pre`, `fine` and `tested`; `fine` has W&B's variables, all loggers, table and checkpoints."""
    import cli

    place = tmp_path_factory.mktemp("tracked")
    with offline(place) as patch:
        assert cli.main(["fit", "--config", "tasks/simclr.yaml", *SMALL, "--run_dir", "pre"]) == 0
        for name, value in (VARIABLES | {"DIR": "their_dir"}).items():
            patch.setenv(f"WANDB_{name}", value)
        typed = ["--model.weights", "pre", "--model.optim.backbone", "0.1", "--tensorboard", "true", "--mlflow", "true"]
        typed += ["--wandb.table", "8", "--wandb.log_model", "true", "--run_dir", "fine"]
        with (place / "said.txt").open("w") as said, redirect_stdout(said):
            assert cli.main(["fit", "--config", "tasks/classification.yaml", *SMALL, *typed]) == 0
        for name in (*VARIABLES, "DIR"):
            patch.delenv(f"WANDB_{name}")
        test = ["test", "--config", "tasks/classification.yaml", "--ckpt_path", "fine", "--run_dir", "tested"]
        assert cli.main([*test, *SMALL[6:12]]) == 0
        wandb.teardown()  # its service writes on while the machine is busy
    return place


@pytest.fixture(scope="module")
def logged(place):
    """Contents of the file that W&B's client wrote of each run."""
    folders = {"pre": "pre/wandb", "fine": "their_dir/wandb", "tested": "tested/wandb"}
    return SimpleNamespace(**{name: Logged(*place.glob(f"{path}/offline-run-*")) for name, path in folders.items()})


@pytest.fixture(scope="module")
def led(place):
    """Folders of a comparison of two learning rates, and of a search of one trial where Optuna is installed."""
    import cli

    fit = ["--config", "tasks/classification.yaml", *SMALL]
    commands = {"compare": ["--vary", "model.optim.lr=0.01,0.001", "--seeds", "1"]}
    if find_spec("optuna"):
        commands["tune"] = ["--trials", "1", "--seeds", "0"]
    for command, typed in commands.items():
        with offline(place) as patch:
            patch.setenv("WANDB_RUN_GROUP", "")  # which the command sets
            in_this_process(patch)
            assert cli.main([command, *fit, *typed, "--run_dir", f"led/{command}"]) == 0
    return place / "led"


def contents(run: Path) -> Logged:
    """Contents of the file that W&B's client wrote of a run."""
    (folder,) = (run / "wandb").glob("offline-run-*")
    return Logged(folder)


@pytest.mark.parametrize(
    ("command", "children"), [("compare", ["lr=0.01/seed0", "lr=0.001/seed0"]), ("tune", ["trials/000"])]
)
def test_a_command_and_the_fits_that_it_starts_are_a_group_with_their_own_job_types(led, command, children):
    if command == "tune":
        pytest.importorskip("optuna", reason='pip install "graft[tune]"')
    own = contents(led / command).run
    assert (own.job_type, own.run_group, own.display_name) == (command, f"led/{command}", f"led/{command}")
    assert own.notes.startswith(f"python cli.py {command} --config tasks/classification.yaml")
    runs = [contents(led / command / child).run for child in children]
    assert [(run.job_type, run.run_group) for run in runs] == [("fit", f"led/{command}")] * len(children)
    assert len({own.run_id, *(run.run_id for run in runs)}) == 1 + len(children)


def test_the_run_of_a_comparison_holds_its_figures_table_and_verdicts(led):
    logged, folder = contents(led / "compare"), led / "compare"
    with (folder / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for name in ("mean", "low", "high", "difference", "difference_low", "difference_high"):
            known = logged.summary.get(f"{row['variant']}/{row['metric']}/{name}")
            assert known == (pytest.approx(float(row[name]), rel=1e-5) if row[name] else None)
    verdicts = json.loads((folder / "compare.json").read_text())["verdicts"]
    assert logged.summary["verdicts"] == verdicts and verdicts
    figures = {path.stem for path in (folder / "figures").glob("*.png")}
    assert figures == {"compare", "compare_lr"}
    assert {f"figures/{name}" for name in figures} <= logged.summary.keys()
    assert logged.summary["tables/compare"]["nrows"] == len(rows)


def test_a_run_has_its_job_type_tags_command_and_commit(logged):
    run = logged.pre.run
    assert (run.project, run.display_name, run.job_type, run.run_group) == ("graft", "pre", "fit", "")
    assert list(run.tags) == ["pretraining", "test_resnet", "simclr"]
    assert run.notes.startswith("python cli.py fit --config tasks/simclr.yaml")
    assert logged.tested.run.job_type == "test"
    if (ROOT / ".git").exists():
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert run.git.commit == head.stdout.strip()


def test_variables_of_wandb_are_honored(logged):
    run = logged.fine.run
    found = run.project, run.entity, run.run_group, run.display_name, run.notes, run.job_type
    assert found == tuple(VARIABLES[name] for name in ("PROJECT", "ENTITY", "RUN_GROUP", "NAME", "NOTES", "JOB_TYPE"))
    assert list(run.tags) == ["their_tag", "another", "classification", "test_resnet", "fine-tuning"]


def test_every_logger_has_the_same_scalars(place, logged):
    from mlflow import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with (place / "fine" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = rows[0].keys() - {"step"}
    assert names >= {"epoch", "train/lr", "train/lr_x0.1", "train/grad_norm", "train/loss", "train/samples_per_sec"}
    assert names >= {"train/data_time_fraction", "val/accuracy", "test/accuracy"}
    numbers = {k for row in logged.fine.history for k, v in row.items() if isinstance(v, int | float)}
    assert {k for k in numbers if k.startswith(("train/", "val/", "test/", "epoch"))} == names
    board = EventAccumulator(str(place / "fine" / "tensorboard")).Reload()
    assert {tag for tag in board.Tags()["scalars"] if not tag.startswith("hp_")} == names
    said = (place / "said.txt").read_text().replace(" \\\n   ", "").splitlines()
    line_naming(said, "TensorBoard", "tensorboard --logdir fine/tensorboard")
    line_naming(said, "MLflow", "mlflow ui --backend-store-uri runs/mlflow")
    client = MlflowClient(str(place / "runs" / "mlflow"))
    run = client.get_run((place / "fine" / ".mlflow_id").read_text())
    assert run.data.metrics.keys() == {name.replace("/low", "_low").replace("/high", "_high") for name in names}
    assert run.data.params["model.init_args.weights"] == "pre" and run.data.tags["job_type"] == "fit"
    curve = [float(row["train/lr"]) for row in rows if row["train/lr"]]
    assert curve == pytest.approx([row["train/lr"] for row in logged.fine.history if "train/lr" in row])
    assert curve == pytest.approx([metric.value for metric in client.get_metric_history(run.info.run_id, "train/lr")])
    assert curve == pytest.approx([event.value for event in board.Scalars("train/lr")])
    figures = {path.stem for path in (place / "fine" / "figures").glob("*.png")}
    assert {file.path.split("/")[1].split("+")[0] for file in client.list_artifacts(run.info.run_id, "images")} == {
        f"figures~{name}" for name in figures
    }
    assert set(board.Tags()["images"]) == {f"figures/{name}" for name in figures}


def test_the_summary_holds_the_best_of_the_monitor_and_the_test_figures(place, logged):
    assert logged.fine.metrics["val/accuracy"].summary.max and logged.pre.metrics["val/loss"].summary.min
    history = [row["val/accuracy"] for row in logged.fine.history if "val/accuracy" in row]
    assert logged.fine.summary["val/accuracy"] == {"max": max(history)}
    test = {name: row["value"] for name, row in results(place / "fine").items() if name.startswith("test/")}
    for name, row in results(place / "fine").items():
        if row.get("interval"):
            test |= {f"{name}/low": row["interval"][0], f"{name}/high": row["interval"][1]}
    assert "test/accuracy/low" in test
    assert not [name for name in logged.fine.summary if name.endswith(("_low", "_high"))]  # one name everywhere
    assert {name: logged.fine.summary[name] for name in test} == pytest.approx(test)


def test_fine_tuning_uses_the_artifact_of_the_pretraining(place, logged):
    (made,) = logged.pre.artifacts
    used = logged.fine.artifacts[0]
    assert (made.name, made.type) == (f"backbone-{(place / 'pre' / '.wandb_id').read_text()}", "model")
    assert not made.user_created and not made.use_after_commit
    assert (used.name, used.type, used.digest) == (made.name, made.type, made.digest)
    assert used.user_created and used.use_after_commit  # what W&B's use_artifact sends of a draft
    assert '"name":"test_resnet"' in made.metadata and '"task":"SimCLR"' in made.metadata
    (entry,) = made.manifest.contents
    assert Path(entry.local_path).read_bytes() == (place / "pre" / "backbone.safetensors").read_bytes()
    assert logged.fine.config["model.init_args.weights"] == "pre"


def test_checkpoints_and_predictions_are_logged_on_request(place, logged):
    artifacts = {artifact.name.partition("-")[0]: artifact for artifact in logged.fine.artifacts}
    models = [artifact for artifact in logged.fine.artifacts if artifact.name.startswith("model-")]
    assert [set(model.aliases) for model in models] == [{"latest", "last"}, {"latest", "best"}]
    assert [model.manifest.contents[0].path for model in models] == ["last.ckpt", "best.ckpt"]
    table = logged.fine.summary["predictions/test"]
    assert (table["_type"], table["nrows"], table["ncols"]) == ("table-file", 8, 6)
    shown = [entry for entry in artifacts["run"].manifest.contents if entry.path.endswith(".png")]
    assert len(shown) == 8


@pytest.mark.parametrize("uri", ["foo://bar", "/proc/nothere"])
def test_an_address_that_mlflow_cannot_use_is_told_and_training_goes_on(tmp_path, monkeypatch, capsys, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert len(build_loggers(str(tmp_path), wandb=False, mlflow=True)) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"MLflow logs nothing: MLFLOW_TRACKING_URI is {uri}: ") and "goes on" in line


def test_a_server_of_mlflow_that_is_out_of_reach_does_not_hold_the_run(tmp_path, monkeypatch, capsys):
    for name in PATIENCE:
        monkeypatch.setenv(name, "")  # whatever is set here is taken back
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    begun = time.monotonic()
    *_, logger = build_loggers(str(tmp_path), wandb=False, mlflow=True)
    logger.log_metrics({"train/loss": 1.0}, 1)
    assert time.monotonic() - begun < 30
    assert "MLflowRun failed" in capsys.readouterr().out
