"""Warnings and messages on the command line."""

import logging

import pytest

import tasks.unfreezing
from commands.silence import Filled, format_warning


def test_a_warning_of_ours_is_a_sentence_and_one_of_a_library_names_its_place():
    assert format_warning("too late", UserWarning, tasks.unfreezing.__file__, 3) == "warning: too late\n"
    assert "lib/torch/x.py:3" in format_warning("deprecated", UserWarning, "lib/torch/x.py", 3)


@pytest.mark.parametrize(
    ("said", "shown"), [("seven words", "seven\n  words"), ("tables\nof words", "tables\nof words")]
)
def test_warnings_and_messages_are_as_wide_as_the_terminal(monkeypatch, said, shown):
    monkeypatch.setenv("COLUMNS", "9")
    record = logging.LogRecord("lightning", logging.INFO, "x.py", 3, said, None, None)
    assert Filled().format(record) == shown
    assert format_warning("seven", UserWarning, tasks.unfreezing.__file__, 3) == "warning:\n  seven\n"
