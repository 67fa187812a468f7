"""Ends of the program: by the parser itself, as after a help, or by a module of the user."""

import sys

import pytest

from commands.parser import Parser, ends_by_itself


@pytest.fixture(params=["as it is", "replaced"])
def end(request, monkeypatch):
    """The process's way to exit, also as W&B replaces it for the time after a run."""
    known = sys.exit
    if request.param == "replaced":
        monkeypatch.setattr(sys, "exit", lambda *args: known(*args))


def test_a_help_is_an_end_by_the_parser(end, capsys):
    with pytest.raises(SystemExit) as help_shown:
        Parser().parse_args(["--help"])
    assert ends_by_itself(help_shown.value)


def test_a_module_that_exits_is_none(end):
    with pytest.raises(SystemExit) as exit_of_a_module:
        exec("import sys\nsys.exit(5)")
    assert not ends_by_itself(exit_of_a_module.value)


def test_long_headings_of_a_help_fit_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    parser = Parser()
    parser.add_argument_group("settings of " + "many words " * 10).add_argument("--setting")
    assert max(map(len, parser.format_help().splitlines())) <= 60
