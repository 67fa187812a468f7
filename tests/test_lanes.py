"""Lanes: every test is in one, and unit tests start neither processes nor the command line."""

import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest

import cli
from tests.conftest import EXPLICIT, LANES, lane_of


def test_every_test_has_one_lane(request):
    lanes = {*LANES.values(), *EXPLICIT}
    of_tests = {
        item.nodeid: lanes.intersection(mark.name for mark in item.iter_markers()) for item in request.session.items
    }
    assert not {name: found for name, found in of_tests.items() if len(found) != 1}


@pytest.mark.parametrize(
    ("path", "marks", "lane"),
    [
        ("modules/losses/test_x.py", set(), "unit"),
        ("modules/backbones/test_x.py", set(), "integration"),
        ("modules/losses/test_x.py", {"integration", "parametrize"}, "integration"),
        ("cli/test_x.py", {"slow"}, "slow"),
        ("test_x.py", set(), "unit"),
    ],
)
def test_a_lane_is_that_of_the_deepest_folder_or_of_a_mark(path, marks, lane):
    assert lane_of(Path(__file__).parent / path, marks) == lane


@pytest.mark.parametrize(
    "start",
    [
        lambda: os.fork(),
        lambda: subprocess.run(["true"]),
        lambda: multiprocessing.get_context("spawn").Process(target=print).start(),
        lambda: cli.main([]),
    ],
    ids=["fork", "subprocess", "multiprocessing", "command line"],
)
def test_a_unit_test_starts_no_process(start):
    with pytest.raises(pytest.fail.Exception):
        start()
