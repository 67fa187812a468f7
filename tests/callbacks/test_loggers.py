"""Fault-tolerant loggers: a failure is reported once, and training continues."""

import http.server
import os
import signal
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from callbacks.loggers.build import build_loggers
from callbacks.loggers.facts import Facts, interval_ends, tags_of
from callbacks.loggers.fault_tolerant import fault_tolerant
from callbacks.loggers.metrics_csv import MetricsCSV
from callbacks.loggers.wandb_run import NO_LOGIN, unreachable
from modules.contracts import ConfigError
from tests.helpers.errors import assert_named, line_naming, refuses

KEY = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    """Environment without W&B login or project; ends the W&B run of a test."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "nowhere"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield
    import wandb

    wandb.finish()
    wandb.teardown()


class Breaks(Logger):
    """Logger that fails at its third call."""

    name, version = "breaks", 0

    def __init__(self):
        self.seen = []

    def log_hyperparams(self, params):
        self.seen.append(params)

    def log_metrics(self, metrics, step=None):
        if len(self.seen) > 1:
            raise ConnectionError("server gone\nlong details")
        self.seen.append(metrics)


def test_a_logger_that_raises_is_reported_once_and_silent_from_then_on(capsys):
    own = Breaks()
    logger = fault_tolerant(own)
    logger.log_hyperparams({"a": 1})
    for step in range(5):
        logger.log_metrics({"x": step}, step)
    logger.finalize("success")
    assert isinstance(logger, Breaks) and own.seen == [{"a": 1}, {"x": 0}]
    (line,) = capsys.readouterr().out.splitlines()
    assert_named(line, "Breaks", "server gone")


def test_an_experiment_that_cannot_begin_is_a_dummy(capsys):
    class NoServer(CSVLogger):
        @property
        def experiment(self):
            raise OSError("no server")

    logger = fault_tolerant(NoServer("."))
    logger.experiment.anything(1)
    logger.log_metrics({"x": 1})
    assert capsys.readouterr().out.count("no server") == 1


def test_metrics_csv_is_no_tracking_and_an_own_wandb_logger_replaces_the_built_in_one(tmp_path):
    kinds = [type(logger) for logger in build_loggers(str(tmp_path), own=[WandbLogger(project="mine"), Breaks()])]
    assert kinds[0] is MetricsCSV and len(kinds) == 3
    assert issubclass(kinds[1], WandbLogger) and issubclass(kinds[2], Breaks)
    assert [issubclass(k, WandbLogger) for k in map(type, build_loggers(str(tmp_path)))] == [False, True]


@pytest.mark.integration
def test_the_environment_names_project_run_and_id(tmp_path, monkeypatch):
    for name, value in {"PROJECT": "envproj", "NAME": "envname", "RUN_ID": "envid", "ENTITY": "us"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = build_loggers(str(tmp_path))[1]
    logger.log_metrics({"x": 1.0}, 0)
    run = logger.experiment
    assert (run.project, run.name, run.id, run.entity) == ("envproj", "envname", "envid", "us")


@pytest.mark.integration
def test_without_a_login_or_a_connection_wandb_is_offline(monkeypatch, tmp_path, capsys):
    assert unreachable() == NO_LOGIN
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_MODE", "online")
    logger = build_loggers(str(tmp_path))[1]
    logger.log_metrics({"x": 1.0}, 0)
    assert capsys.readouterr().out.count("http://127.0.0.1:9") == 1
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


@pytest.mark.integration
def test_a_server_that_refuses_is_out_of_reach(monkeypatch):
    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_error(403)

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        assert "403" in unreachable()
        server.shutdown()


@pytest.mark.integration
def test_a_resumed_offline_run_continues_the_steps_and_the_advice_names_both_parts(tmp_path, monkeypatch):
    import wandb

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    Path("my run").mkdir()
    first = build_loggers("my run")[1]
    for step in range(3):
        first.log_metrics({"x": 1.0}, step)
    first.finalize("finished")
    wandb.teardown()
    (part,) = Path("my run/wandb").glob("offline-run-*")
    part.rename(part.with_name(part.name.replace("offline-run-2", "offline-run-1")))  # begun in the same second
    again = build_loggers("my run")[1]
    again.log_metrics({"x": 1.0}, 3)
    assert again.experiment.step == 4
    assert again.experiment.id == first.version
    look, upload = again.advice().splitlines()
    assert "wandb leet" in look and "wandb sync" in upload
    assert all(f"'{path}'" in upload for path in Path("my run/wandb").glob("offline-run-*"))


@pytest.mark.parametrize(
    ("name", "value"), [("INIT_TIMEOUT", "abc"), ("CONSOLE", "bogus"), ("MODE", "bogus"), ("RESUME", "perhaps")]
)
def test_a_variable_that_wandb_would_fail_on_is_said_once_and_nothing_goes_there(
    tmp_path, monkeypatch, capsys, name, value
):
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "")  # as unset
    monkeypatch.setenv(f"WANDB_{name}", value)
    kinds = [type(logger) for logger in build_loggers(str(tmp_path), own=[WandbLogger(project="mine"), Breaks()])]
    assert kinds[0] is MetricsCSV and len(kinds) == 2
    line = line_naming(capsys.readouterr().out.splitlines(), f"WANDB_{name}", value)
    assert "FINISH_TIMEOUT" not in line
    assert len(build_loggers(str(tmp_path))) == 1


def test_a_folder_of_wandb_that_cannot_be_written_is_said_and_nothing_goes_there(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "file" / "wandb"))
    assert [type(logger) for logger in build_loggers(str(tmp_path))] == [MetricsCSV]
    line_naming(capsys.readouterr().out.splitlines(), "WANDB_DIR", str(tmp_path / "file" / "wandb"))


def test_mlflow_that_is_not_installed_is_answered_with_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning.pytorch.loggers.mlflow._MLFLOW_AVAILABLE", False)
    with refuses(ConfigError, "mlflow", "graft[mlflow]"):
        build_loggers(str(tmp_path), wandb=False, mlflow=True)


@pytest.mark.parametrize("group", ["", "theirs"])
def test_runs_that_a_command_starts_are_a_group_with_ids_and_names_of_their_own(tmp_path, monkeypatch, group):
    folder = tmp_path / "compare_simclr" / "today"
    folder.mkdir(parents=True)
    for name, value in {"RUN_GROUP": group, "RUN_ID": "one", "NAME": "it", "PROJECT": "mine"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    own = build_loggers(str(folder), facts=Facts("compare", leads_group=True))[1]._wandb_init
    group = group or "compare_simclr/today"
    assert (own["group"], own["id"], own["name"], own["job_type"]) == (group, "one", "it", "compare")
    left = {name: value for name, value in os.environ.items() if name in ("WANDB_RUN_ID", "WANDB_NAME")}
    assert left == {} and os.environ["WANDB_RUN_GROUP"] == group


@pytest.mark.parametrize(
    ("settings", "tags"),
    [
        ({"pretraining": True}, ("pretraining", "resnet18", "simclr")),
        ({"weights": None, "frozen": False}, ("simclr", "resnet18", "from scratch")),
        ({"weights": "run", "frozen": False}, ("simclr", "resnet18", "fine-tuning")),
        ({"weights": "run", "frozen": True}, ("simclr", "resnet18", "linear probe")),
        ({"generative": True, "backbone": None}, ("generation", "simclr")),
    ],
)
def test_tags_are_task_backbone_and_method(settings, tags):
    known = {"pretraining": False, "generative": False, "backbone": SimpleNamespace(name="resnet18")}
    task = type("SimCLR", (SimpleNamespace,), {})(**known | settings, hparams=SimpleNamespace(**settings))
    assert tags_of(task) == tags


def test_ends_of_intervals_are_named_after_their_metric():
    rows = [{"metric": "test/accuracy", "value": 0.5, "interval": [0.4, 0.6]}, {"metric": "test/f1", "interval": None}]
    assert dict(interval_ends([*rows, {"metric": "test/loss"}])) == {
        "test/accuracy/low": 0.4,
        "test/accuracy/high": 0.6,
    }


def test_the_setting_that_a_client_library_does_not_take_is_named(capsys):
    import wandb

    class Validates(Breaks):
        def log_metrics(self, metrics, step=None):
            wandb.Settings(mode="bogus")

    fault_tolerant(Validates()).log_metrics({"x": 1.0}, 0)
    line_naming(capsys.readouterr().out.splitlines(), "Validates", "mode", "offline")


@pytest.mark.integration
def test_a_read_only_home_leaves_tables_in_the_temporary_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", os.devnull)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    logger = build_loggers(str(tmp_path))[1]
    logger.log_table("t", columns=["a"], data=[[1]])
    assert capsys.readouterr().out == "" and not logger.failed
    assert list(tmp_path.rglob("*.table.json"))


@pytest.mark.integration
def test_a_run_after_a_change_of_directory_is_logged_there(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("before", "after"):
        (tmp_path / name / "run").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        logger = build_loggers("run")[1]
        logger.log_metrics({"x": 1.0}, 0)
        logger.finalize("finished")
        assert "sync run/wandb/offline-run" in logger.advice()
        assert len(list(tmp_path.glob(f"{name}/run/wandb/offline-run-*/*.wandb"))) == 1


@pytest.mark.integration
def test_training_survives_the_death_of_wandbs_process(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = build_loggers(str(tmp_path))[1]
    logger.log_hyperparams({"lr": 0.1})
    logger.log_metrics({"x": 1.0}, 0)
    processes = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
    ours = [
        line.split()[0] for line in processes.splitlines() if "wandb-core" in line and f"--pid {os.getpid()}" in line
    ]
    for number in ours:
        os.kill(int(number), signal.SIGKILL)
    assert ours
    for step in range(1, 200):
        logger.log_metrics({"x": 2.0}, step)
    assert not logger.failed and logger.experiment.config["lr"] == 0.1
    line_naming(capsys.readouterr().out.splitlines(), "offline", "wandb/offline-run")


def test_a_spawned_process_unpickles_a_guarded_logger():
    import pickle

    logger = pickle.loads(pickle.dumps(fault_tolerant(CSVLogger("there"))))
    assert isinstance(logger, CSVLogger) and logger.failed is False and logger.root_dir.startswith("there")


@pytest.mark.parametrize("rows", [0, 1])
def test_a_table_that_goes_on_from_a_checkpoint_takes_other_columns_than_it_had_after_it(tmp_path, rows):
    before, after = MetricsCSV(str(tmp_path)), MetricsCSV(str(tmp_path))
    for step, name in enumerate(("train/loss", "test/loss"), start=1):
        before.log_metrics({name: 0.5}, step)
        before.save()
    after.rewind(rows)
    after.log_metrics({"val/loss": 0.25}, 2)
    after.save()
    assert [list(filter(None, row.values())) for row in after._read()] == [["1", "0.5"], ["2", "0.25"]][1 - rows :]
