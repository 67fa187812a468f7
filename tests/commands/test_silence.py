"""Warnings and messages on the command line."""

import logging

import pytest

import commands.silence
import tasks.unfreezing
from commands.silence import Filled, HubRetries, format_warning


def test_a_warning_of_ours_is_a_sentence_and_one_of_a_library_names_its_place():
    assert format_warning("too late", UserWarning, tasks.unfreezing.__file__, 3) == "warning: too late\n"
    assert format_warning("too late", UserWarning, commands.silence.__file__, 3) == "warning: too late\n"
    assert "lib/torch/x.py:3" in format_warning("deprecated", UserWarning, "lib/torch/x.py", 3)


@pytest.mark.parametrize(
    ("said", "shown"), [("seven words", "seven\n  words"), ("tables\nof words", "tables\nof words")]
)
def test_warnings_and_messages_are_as_wide_as_the_terminal(monkeypatch, said, shown):
    monkeypatch.setenv("COLUMNS", "9")
    record = logging.LogRecord("lightning", logging.INFO, "x.py", 3, said, None, None)
    assert Filled().format(record) == shown
    assert format_warning("seven", UserWarning, tasks.unfreezing.__file__, 3) == "warning:\n  seven\n"


def test_retries_of_the_hub_are_one_line():
    said = ["'no route' thrown while requesting HEAD https://hub.org/x/y", "Retrying in 1s [Retry 1/5]."]
    records = [logging.LogRecord("hub", 30, "x.py", 3, each, None, None) for each in [*said, *said, "other"]]
    shown = [record.getMessage() for record in filter(HubRetries().filter, records)]
    assert len(shown) == 2
    assert shown[0].startswith("hub.org does not answer")
    assert shown[1] == "other"
