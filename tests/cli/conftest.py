"""Fixtures of the tests of the command line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.commands import ROOT, TINY, in_this_process
from tests.helpers.errors import sentence


@pytest.fixture(scope="module", autouse=True)
def nothing_drawn(blank_figures) -> None:
    """Figures of all commands are blank, unless a test asks for `drawn_figures`."""


@pytest.fixture
def graft(tmp_path, monkeypatch, capsys):
    """Run the command line in a temporary folder; returns the exit code and standard error."""
    import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["cli.py"])
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_RUN_GROUP", "")  # which compare and tune set
    monkeypatch.setattr("logging.raiseExceptions", False)  # handlers that outlive the captured stream
    (tmp_path / "tasks").symlink_to(ROOT / "tasks")

    def run(*argv: str) -> tuple[int, str]:
        code = cli.main(list(argv))
        captured = capsys.readouterr()
        print(captured.out, end="")  # for tests that read it
        assert "Traceback" not in captured.err
        return code, captured.err

    return run


@pytest.fixture
def refused(graft) -> Callable[..., str]:
    """Runs a command that is refused: with this exit code, in one sentence that holds the names, and without a trace.

    `refused(2, ["fit", "--lr", "1"], "--model.optim.lr")` returns the sentence.
    """

    def run(code: int, argv: list[str], *names: object) -> str:
        before = set(Path().rglob("*"))
        found, error = graft(*argv)
        said = sentence(error, *names)
        assert found == code, said
        assert set(Path().rglob("*")) == before
        return said

    return run


@pytest.fixture
def commands(monkeypatch) -> list[list[str]]:
    """Commands of children, which run in this process."""
    return in_this_process(monkeypatch)


@pytest.fixture(scope="session")
def fit_once(tmp_path_factory):
    """Run a fit for shared fixtures; returns its run directory."""
    import cli

    def run(*argv: str) -> Path:
        folder = tmp_path_factory.mktemp("fitted") / "run"
        typed = [str(ROOT / word) if word.startswith("tasks/") else word for word in argv]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WANDB_MODE", "disabled")
            patch.setattr("sys.argv", ["cli.py"])
            assert cli.main(["fit", *typed, "--run_dir", str(folder)]) == 0
        return folder

    return run


@pytest.fixture(scope="session")
def trained(fit_once) -> Path:
    """The run directory of a tiny classification on the built-in data."""
    return fit_once("--config", "tasks/classification.yaml", *TINY)


@pytest.fixture(scope="session")
def exported(trained, tmp_path_factory) -> Path:
    """An ONNX file of the tiny classification."""
    import cli

    out = tmp_path_factory.mktemp("exported") / "model.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["cli.py"])
        typed = ["export", "--ckpt_path", str(trained), "--out", str(out), "--data_license", "CC0"]
        assert cli.main(typed) == 0
    return out


@pytest.fixture
def folder(tmp_path) -> Path:
    """Class folders: train/cat and train/dog with 12 noise images each."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / "train" / name).mkdir(parents=True)
        for i in range(12):
            Image.fromarray(random.integers(0, 256, (20, 24, 3), np.uint8)).save(
                tmp_path / "pets" / "train" / name / f"{i}.png"
            )
    return tmp_path / "pets"
