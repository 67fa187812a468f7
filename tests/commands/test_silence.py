"""Warnings on the command line."""

import tasks.unfreezing
from commands.silence import format_warning


def test_a_warning_of_ours_is_a_sentence_and_one_of_a_library_names_its_place():
    assert format_warning("too late", UserWarning, tasks.unfreezing.__file__, 3) == "warning: too late\n"
    assert "lib/torch/x.py:3" in format_warning("deprecated", UserWarning, "lib/torch/x.py", 3)
