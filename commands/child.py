"""Children: a `fit` of this program in a process of its own, with a log, which saves and ends first when stopped."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

from callbacks.checkpoint import Stopped
from commands.arguments import parse_known
from modules.contracts import ConfigError, DataError, writing

PROGRAM = Path(__file__).parents[1] / "cli.py"
POLL = 0.25  # seconds


def check_alone(command: str) -> None:
    """Refuse torchrun around a command that starts children.

    Raises:
        ConfigError: names the command.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise ConfigError(f"{command} starts processes itself: run it without torchrun, with --trainer.devices N")


def check_named(argv: list[str]) -> None:
    """Refuse a command that starts children without a task to train.

    Raises:
        ConfigError: names the command.
    """
    typed = parse_known(argv)
    if not (typed.config or typed.model) and not {"-h", "--help"} & set(argv):
        raise ConfigError(f"{argv[0]} needs a task to train: add --config, such as tasks/classification.yaml")


def check_results(fast_dev_run: int | bool) -> None:
    """Refuse fast_dev_run, by which children leave no results.

    Raises:
        ConfigError: it is set.
    """
    if fast_dev_run:
        raise ConfigError("fast_dev_run leaves no results to compare: use it with fit, or --trainer.max_epochs 1")


class Ended(NamedTuple):
    """End of a child.

    Args:
        code: its exit code; -n for signal n.
        log: all that it said.
        seconds: duration.
    """

    code: int
    log: Path
    seconds: float

    @property
    def reason(self) -> str:
        """The reason of a failure: the last error sentence, else the last line."""
        if self.code < 0:
            return f"ended by {signal.Signals(-self.code).name}"
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return (errors or lines or ["it said nothing"])[-1]

    def error(self, sentence: str) -> ConfigError | DataError:
        """An exception with the exit code of the failure, whose sentence names what to do."""
        return ConfigError(sentence) if self.code == 2 else DataError(sentence)


def fit(
    arguments: list[str],
    folder: Path,
    lock: IO[str] | None = None,
    variables: Mapping[str, str] | None = None,
    watch: Callable[[], bool] | None = None,
) -> Ended | None:
    """Train in a run directory by a process of its own; returns null if the run there is finished.

    A stopped run continues from its last checkpoint; one without a checkpoint is begun anew.

    Args:
        arguments: of `fit`, without its name, --run_dir and --ckpt_path.
        folder: the run directory; the log is written beside it.
        lock: of the parent's folder; the child holds it too, in case the parent is killed.
        variables: further environment variables.
        watch: called several times a second; once it returns true, the child is told to save and end.
    """
    if (folder / "results.json").is_file():
        return None
    command = ["fit", *arguments, "--run_dir", str(folder)]
    if (folder / "checkpoints" / "last.ckpt").is_file():
        command += ["--ckpt_path", str(folder)]
    elif folder.exists():
        shutil.rmtree(folder)
    log, began = folder.with_name(f"{folder.name}.log"), time.monotonic()
    with writing(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("w")
    with file:
        code = wait([sys.executable, str(PROGRAM), *command], file, lock, variables, *([watch] if watch else []))
    return Ended(code, log, time.monotonic() - began)


def wait(
    command: list[str],
    log: IO[str],
    lock: IO[str] | None = None,
    variables: Mapping[str, str] | None = None,
    watch: Callable[[], bool] | None = None,
) -> int:
    """Run a command; returns its exit code. When this process is interrupted, the command saves and ends first."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        pass_fds=[lock.fileno()] if lock else [],
        env={**os.environ, **variables} if variables else None,
    )
    try:
        while watch:
            try:
                return child.wait(POLL)
            except subprocess.TimeoutExpired:
                if watch():
                    child.terminate()
                    break
        return child.wait()
    except BaseException:
        child.terminate()
        try:
            child.wait()
        finally:
            child.kill()  # a second Ctrl-C does not wait
        raise


@contextmanager
def stopping(folder: Path) -> Iterator[None]:
    """Raise `Stopped` on SIGINT and SIGTERM; the same command goes on with --run_dir `folder`."""

    def stop(number: int, frame: Any) -> NoReturn:
        raise Stopped(folder, number, "--run_dir")

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
