"""README and guides name settings, files and pages that exist."""

import re
import shlex
from pathlib import Path

import pytest

import datamodules
import tasks
from commands.early_checks import check_early
from docs.reference import actions
from modules.contracts import DataError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.fixture(scope="module")
def settings() -> set[str]:
    """Every setting of every task and data module, such as `data.batch_size`."""
    packages = {"model": tasks, "data": datamodules}
    classes = [(vars(package)[name], section) for section, package in packages.items() for name in package.__all__]
    return {action.dest for cls, section in classes for action in actions(cls, section)}


def commands(page: Path) -> list[list[str]]:
    """The command lines of a page in its code blocks, without the program."""
    text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))  # a command in two lines
    lines = re.findall(r"^ +python cli\.py (.*?)(?: +#.*)?$", text, flags=re.M)
    return [shlex.split(line) for line in lines if "..." not in line]


@each_page
def test_settings_exist(page, settings):
    named = set(re.findall(r"--((?:model|data)(?:\.optim)?\.\w+)", page.read_text(encoding="utf-8")))
    assert {name for name in named if name not in settings} - {"model.help", "data.help"} == set()


@each_page
def test_commands_and_configs_exist(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    for argv in commands(page):
        try:
            check_early(argv)
        except DataError as error:  # the run or file of the example is not there
            assert "runs/" in str(error) or "checkpoint" in str(error), argv


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_messages_of_troubleshooting_are_those_of_the_code():
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").partition("## Finding")[0]
    quoted = [words for row in re.findall(r"^\| (`.+?) \|", text, flags=re.M) for words in re.findall(r"`(.+?)`", row)]
    folders = ("commands", "tasks", "modules", "datamodules", "callbacks")
    code = "".join(file.read_text(encoding="utf-8") for name in folders for file in (ROOT / name).rglob("*.py"))
    assert len(quoted) > 15
    assert [words for words in quoted if words not in code] == []
