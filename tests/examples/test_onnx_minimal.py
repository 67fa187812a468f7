"""The minimal example of exported files takes along what it names."""

import runpy
import sys

import numpy as np
import torch
from pycocotools import mask as coco

from modules.decoding.masks import paste
from tests.helpers.commands import ROOT


def test_the_modules_for_texts_are_where_the_example_looks_for_them(monkeypatch):
    monkeypatch.setattr("sys.path", sys.path[:])
    example = runpy.run_path(str(ROOT / "examples" / "onnx_minimal.py"), run_name="example")
    search, vocabulary = example["ours"]()
    assert search.EOS == 2 and callable(search.search) and callable(vocabulary.Vocabulary)


def test_the_example_pastes_masks_of_queries_as_the_program_does():
    example = runpy.run_path(str(ROOT / "examples" / "onnx_minimal.py"), run_name="example")
    random = np.random.default_rng(0)
    square = random.random((56, 56), np.float32)
    for box in ([3.0, 4.0, 20.5, 9.25], [-4.0, 2.0, 40.0, 30.0], [5.0, 5.0, 5.0, 5.0]):
        ours = paste(torch.from_numpy(square)[None], torch.tensor([box]), (24, 32), exact=True)[0]
        theirs = example["pasted"](square, np.array(box, np.float32), (32, 24), True)
        assert np.array_equal(theirs, coco.decode(ours).astype(bool)), box
