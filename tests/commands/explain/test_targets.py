"""Samples in which there is something to explain."""

import pytest

from commands.explain.images import found_in
from commands.explain.samples import Samples
from modules.contracts import DataError


def test_samples_in_which_nothing_is_found_are_left_out_and_none_left_is_an_error():
    samples = Samples("test", ["a", "b"], {"id": ["a", "b"]}, [], [])
    left, targets = found_in(samples, [None, 3])
    assert left.ids == ["b"] and targets == [3]
    with pytest.raises(DataError, match="score_threshold"):
        found_in(samples, [None, None])
