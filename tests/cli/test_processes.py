"""Number of processes of a command, and the checkpoint of `--ckpt_path auto`."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from callbacks import TerminateOnNaN
from callbacks.run_directory import RunDirectory
from commands.checkpoints import resume_or_start
from commands.cluster import launched, requeue, share_out
from commands.fit import CLI
from commands.processes import Terminated
from modules.contracts import ConfigError, DataError
from tests.helpers.errors import refuses
from tests.helpers.wandb_records import Logged

TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
SRUN = {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "train"}
FIT = "fit --config tasks/classification.yaml --data.train 40 --data.val 20 --data.test 20 --data.batch_size 10".split()
FIT += "--data.workers 0 --data.image_size 32 --trainer.max_epochs 1 --trainer.precision 32".split()
FIT += "--trainer.accelerator cpu --figures.samples 1".split()


@pytest.mark.parametrize("environment", [TORCHRUN, SRUN], ids=["torchrun", "srun"])
@pytest.mark.parametrize(("devices", "nodes"), [("auto", 1), ("2", 2), (2, 1), ([0, 1], 2)])
def test_all_processes_that_were_started_are_used(environment, devices, nodes):
    config = {"devices": devices, "num_nodes": nodes}
    share_out(config, environment)
    assert (len(devices) if isinstance(devices, list) else int(config["devices"])) == 2
    assert config["num_nodes"] == 2


@pytest.mark.parametrize("environment", [{}, SRUN | {"SLURM_JOB_NAME": "bash"}], ids=["alone", "an interactive job"])
def test_a_command_that_nobody_started_several_times_keeps_its_settings(environment):
    config = {"devices": "auto", "num_nodes": 1}
    share_out(config, environment)
    assert config == {"devices": "auto", "num_nodes": 1}


@pytest.mark.parametrize(
    ("environment", "config", "names"),
    [
        (TORCHRUN, {"devices": 3}, ["trainer.devices", "3", "2"]),
        (TORCHRUN, {"num_nodes": 3}, ["trainer.num_nodes", "3", "2"]),
        (SRUN, {"devices": "4"}, ["trainer.devices", "4", "--ntasks-per-node"]),
        ({"SLURM_NTASKS": "1"}, {"devices": 2}, ["trainer.devices", "2", "srun"]),
        ({"SLURM_NTASKS": "2"}, {}, ["2", "srun"]),
        ({"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}, {}, ["--ntasks-per-node"]),
    ],
)
def test_processes_that_would_not_be_used_are_refused(environment, config, names):
    with refuses(ConfigError, *names):
        share_out({"devices": "auto", "num_nodes": 1} | config, environment)


def test_gpus_that_slurm_starts_no_task_for_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    with refuses(ConfigError, "4", "--trainer.devices 2"):
        share_out({"devices": "auto", "num_nodes": 1}, SRUN)


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("--trainer.devices 2 --trainer.strategy ddp_spawn", ["trainer.strategy", "--trainer.strategy ddp"]),
        ("--trainer.devices 2 --trainer.strategy ddp_fork", ["trainer.strategy", "--trainer.strategy ddp"]),
        ("--trainer.devices 2 --trainer.sync_batchnorm true", ["trainer.sync_batchnorm"]),
        ("--trainer.devices 999", ["trainer.devices", "999", f"--trainer.devices {os.cpu_count()}"]),
        ("--trainer.devices -1", ["devices", "-1"]),
        ("--ckpt_path auto", ["--ckpt_path auto", "--run_dir"]),
    ],
)
def test_processes_that_cannot_work_are_refused(refused, typed, names):
    refused(2, [*FIT, *typed.split()], *names)


def test_auto_starts_then_resumes_by_the_same_command(graft, monkeypatch, capsys):
    typed = [*FIT, "--trainer.log_every_n_steps", "1", "--tensorboard", "true", "--run_dir", "run"]
    typed += ["--ckpt_path", "auto"]
    monkeypatch.setenv("WANDB_MODE", "offline")
    with monkeypatch.context() as patch:  # a run that is killed before its first checkpoint
        patch.setattr(TerminateOnNaN, "on_train_batch_end", _kill_at_step_2)
        patch.setattr(RunDirectory, "release", lambda self, failed=False: self.lock.close())
        assert graft(*typed)[0] == 128 + signal.SIGKILL
    assert "W&B, upload: wandb sync run/wandb/offline-run" in capsys.readouterr().out
    Path("run/.lr_find_0.ckpt").touch()  # of Lightning's LearningRateFinder
    left = {path.name for path in Path("run").iterdir()}
    assert left > {".lock", "config.yaml", "metrics.csv", "tensorboard", "wandb", ".wandb_id", ".wandb_step"}
    killed = Path("run/.wandb_id").read_text()
    assert graft(*typed)[0] == 0
    assert Path("run/.wandb_id").read_text() != killed and not Path("run/.lr_find_0.ckpt").exists()
    first = Path("run/metrics.csv").read_text()
    assert Path("run/checkpoints/last.ckpt").is_file()
    code, said = graft(*typed, "--trainer.max_epochs", "2")
    assert (code, said) == (0, "")
    assert Path("run/metrics.csv").read_text().startswith(first[: first.rindex("\n", 0, -1)][:200])
    assert Path("run/config_until_epoch_1.yaml").is_file()  # the settings before, as in any resumed run
    parts = sorted(Path("run/wandb").glob(f"offline-run-*-{Path('run/.wandb_id').read_text()}"))
    parts = [Logged(part) for part in parts]
    assert len(parts) == 2
    accuracies = [row["val/accuracy"] for logged in parts for row in logged.history if "val/accuracy" in row]
    assert parts[1].summary["val/accuracy"] == {"max": max(accuracies)}  # also of the part before


def _kill_at_step_2(self, trainer, *rest):
    for logger in trainer.loggers:
        logger.save()
    if trainer.global_step == 2:
        raise Terminated(signal.SIGKILL)


@pytest.mark.parametrize(
    ("place", "said"),
    [(RunDirectory, "before the first step"), (CLI, "--ckpt_path run/checkpoints/last.ckpt")],
    ids=["before the training", "after it"],
)
def test_a_signal_outside_of_the_training_is_answered(graft, monkeypatch, capsys, place, said):
    method = {RunDirectory: "on_train_start", CLI: "after_fit"}[place]
    monkeypatch.setattr(place, method, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert graft(*FIT, "--run_dir", "run") == (128 + signal.SIGTERM, "")
    assert said in capsys.readouterr().out.splitlines()[-1]
    assert Path("run").exists() == (place is CLI)


def test_auto_deletes_nothing_that_is_not_of_a_run(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with refuses(DataError, tmp_path, "--run_dir"):
        RunDirectory(tmp_path, lambda: None, restarted=True).claim()
    assert (tmp_path / "thesis.txt").is_file()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers are forked on Linux only")
def test_workers_that_outlive_a_killed_run_do_not_hold_its_folder(tmp_path):
    directory = RunDirectory(tmp_path / "run", lambda: None)
    directory.claim()
    forked = multiprocessing.get_context("fork")
    started, end = forked.Event(), forked.Event()
    orphan = forked.Process(target=lambda: (started.set(), end.wait()), daemon=True)
    orphan.start()
    assert started.wait(60)
    directory.lock.close()  # as the end of the process does
    RunDirectory(tmp_path / "run", lambda: None, resumed=True).claim()
    assert orphan.is_alive()
    end.set()


def test_auto_in_a_slurm_job_needs_no_run_directory(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    typed = resume_or_start(["fit", "--ckpt_path", "auto"], "simclr")
    assert typed == ["fit", "--run_dir", "runs/simclr/slurm_4711"]


def test_auto_is_for_fit():
    with refuses(ConfigError, "--ckpt_path auto"):
        resume_or_start(["test", "--ckpt_path", "auto", "--run_dir", "run"], "simclr")


@pytest.mark.skipif(os.name == "nt", reason="there is no SLURM on Windows")
def test_a_slurm_job_is_requeued_when_its_command_would_go_on(monkeypatch):
    asked = []
    done = subprocess.CompletedProcess([], 0, "", "")
    monkeypatch.setattr("commands.cluster.subprocess.run", lambda command, **_: asked.append(command) or done)
    monkeypatch.setattr("commands.cluster.rank_zero_only.rank", 0)
    assert requeue("auto", signal.SIGUSR1) == ""  # no job
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    assert requeue("latest", signal.SIGUSR1) == requeue("auto", signal.SIGTERM) == ""
    assert not asked
    assert "4711" in requeue("auto", signal.SIGUSR1)
    assert asked == [["scontrol", "requeue", "4711"]]


def test_a_process_is_launched_by_its_parent_only(monkeypatch):
    monkeypatch.setenv("GRAFT_PARENT", str(os.getppid()))
    assert launched()
    monkeypatch.setenv("GRAFT_PARENT", str(os.getpid()))  # as in the process that launches others
    assert not launched()
