"""Standard output that ends no run: a reader that goes away (`| head`), letters its encoding lacks, a full disk."""

import os
import sys
from contextlib import suppress
from typing import Any, TextIO


class Output:
    """Stream whose text goes nowhere once it cannot be written any more.

    Args:
        stream: standard output or standard error.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def keep_output() -> None:
    """Put `Output` in place of both streams; letters that a terminal lacks are escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):  # not closed, nor replaced by a test or a notebook
            stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, Output(stream))
