"""Language of the repository: openings of docstrings, and words that are out of use."""

import ast
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration  # git lists the files

ROOT = Path(__file__).parents[1]
OPENINGS = {"What", "Which", "How", "Where", "Whether", "Of", "Who", "When"}
UNUSED = "picture"  # an input is an image, a drawing that a run leaves is a figure
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def tracked(*patterns: str) -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in names.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def questions(source: str) -> list[str]:
    """Docstrings of modules, classes and functions that open with one of `OPENINGS`."""
    documented = (node for node in ast.walk(ast.parse(source)) if isinstance(node, DOCUMENTED))
    docstrings = filter(None, map(ast.get_docstring, documented))
    return [text.splitlines()[0] for text in docstrings if text.split()[0].rstrip(",.:;?") in OPENINGS]


def test_docstrings_open_with_a_noun_phrase_or_an_imperative():
    files = tracked("*.py")
    found = [f"{path.relative_to(ROOT)}: {line}" for path in files for line in questions(path.read_text())]
    assert len(files) > 100 and not found


def test_an_opening_is_found_in_modules_classes_and_functions():
    source = '"""What it is."""\nclass A:\n    """Whether."""\n\n    def f(self):\n        """Of, or: a mean."""\n'
    assert questions(source) == ["What it is.", "Whether.", "Of, or: a mean."]
    assert questions('"""Howitzer."""\ndef f():\n    """Compute what is asked."""\n\ndef g(): ...\n') == []


def test_images_and_figures_have_no_other_name():
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # no text file
            continue
        lines = enumerate(text.lower().splitlines(), 1) if path != Path(__file__) else ()
        found += [f"{path.relative_to(ROOT)}:{number}" for number, line in lines if UNUSED in line]
    assert not found
