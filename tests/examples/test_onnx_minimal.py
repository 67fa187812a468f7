"""The minimal example of exported files takes along what it names."""

import runpy
import sys

from tests.helpers.commands import ROOT


def test_the_modules_for_texts_are_where_the_example_looks_for_them(monkeypatch):
    monkeypatch.setattr("sys.path", sys.path[:])
    example = runpy.run_path(str(ROOT / "examples" / "onnx_minimal.py"), run_name="example")
    search, vocabulary = example["ours"]()
    assert search.EOS == 2 and callable(search.search) and callable(vocabulary.Vocabulary)
