"""Fixtures of the task tests on several devices."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.forks import forked


@pytest.fixture
def alone_and_by_twos(tmp_path) -> Callable[..., list[Path]]:
    """Call `work(processes, path)` in one process and in two, in forks; returns the files of the first processes."""

    def run(work: Callable[[int, Path], None]) -> list[Path]:
        for processes in (1, 2):

            def each(processes: int = processes) -> None:
                work(processes, tmp_path / f"{processes}.{os.environ.get('RANK', '0')}")

            assert forked(each, tmp_path, processes) == [0] * processes
        return [tmp_path / "1.0", tmp_path / "2.0"]

    return run
