"""torchrun and SLURM: the processes that they started, and requeueing of SLURM jobs."""

import os
import signal
import subprocess
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only

from modules.contracts import ConfigError

PARENT = "GRAFT_PARENT"  # environment variable: the process that started this one for a share of its work


def launched() -> bool:
    """True in a process that another process of the same command started."""
    return os.environ.get(PARENT) == str(os.getppid())


def share_out(config: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Set `devices` and `num_nodes` to the processes that torchrun or SLURM started, where they have their defaults.

    Args:
        config: the trainer's settings.
        environment: variables of this process.

    Raises:
        ConfigError: they were typed and differ, or the processes cannot work together.
    """
    started = _by_torchrun(environment) or _by_slurm(environment)
    if not started:
        return
    who, each, nodes, remedy = started
    begun = f"{who} started {each} process(es) on each of {nodes} machine(s), but"
    if who == "SLURM" and config["devices"] == "auto" and each < torch.cuda.device_count():
        raise ConfigError(
            f"{begun} {torch.cuda.device_count()} GPUs are there: {remedy}, or set --trainer.devices {each}"
        )
    for name, free, number in (("devices", "auto", each), ("num_nodes", 1, nodes)):
        asked = config[name]
        if asked == free:
            config[name] = number
        elif (len(asked) if isinstance(asked, list) else str(asked)) not in (number, str(number)):
            raise ConfigError(f"{begun} trainer.{name} is {asked}: leave --trainer.{name} out, or {remedy}")


def _by_torchrun(environment: Mapping[str, str]) -> tuple[str, int, int, str] | None:
    """The launcher's name, its processes per machine, the number of machines, and a remedy for messages."""
    if launched() or "RANK" not in environment or "WORLD_SIZE" not in environment:
        return None
    world = int(environment["WORLD_SIZE"])
    each = int(environment.get("LOCAL_WORLD_SIZE", world))
    return "torchrun", each, world // each, "start as many (--nproc_per_node, --nnodes)"


def _by_slurm(environment: Mapping[str, str]) -> tuple[str, int, int, str] | None:
    tasks, name = environment.get("SLURM_NTASKS"), environment.get("SLURM_JOB_NAME")
    if tasks is None or name in ("bash", "interactive") or launched():
        return None
    count = int(tasks)
    if count == 1:
        return "SLURM", 1, 1, "ask SLURM for as many tasks (--ntasks-per-node) and put srun in front of the command"
    if not {"SLURM_STEP_ID", "SLURM_STEPID"} & environment.keys():
        raise ConfigError(
            f"this SLURM job has {count} tasks, but the command was not started by srun: put srun in front of it, or "
            f"ask for one task (--ntasks 1)"
        )
    each = environment.get("SLURM_NTASKS_PER_NODE")
    if each is None:
        raise ConfigError(
            f"this SLURM job has {count} tasks, but says nothing about tasks per node: ask for --ntasks-per-node in "
            f"place of --ntasks={count}"
        )
    return "SLURM", int(each), count // int(each), "ask SLURM for as many tasks (--ntasks-per-node, --nodes)"


def requeue(typed: str | None, number: int) -> str:
    """Requeue a SLURM job whose end a signal announced, if its command would then resume (`--ckpt_path auto`).

    Args:
        typed: the value of --ckpt_path.
        number: the signal's.

    Returns:
        A sentence on what was done; empty when nothing was.
    """
    job = os.environ.get("SLURM_ARRAY_JOB_ID", os.environ.get("SLURM_JOB_ID"))
    if number != getattr(signal, "SIGUSR1", None) or typed != "auto" or not job or rank_zero_only.rank:
        return ""
    if task := os.environ.get("SLURM_ARRAY_TASK_ID"):
        job += f"_{task}"
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
    except OSError as error:
        return f"job {job} was not requeued: scontrol cannot be run ({error.strerror})"
    return f"job {job} was not requeued: {done.stderr.strip()}" if done.returncode else f"job {job} is requeued"
