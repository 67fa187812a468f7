"""Standard output whose reader goes away, or whose encoding lacks letters."""

import os
import sys

from commands.output import Output, keep_output


def piped(monkeypatch) -> int:
    """Make the standard output a pipe in ASCII; returns its reading end. No fixture: pytest puts its own back."""
    read, write = os.pipe()
    monkeypatch.setattr(sys, "stdout", os.fdopen(write, "w", encoding="ascii", buffering=1))
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    keep_output()
    assert isinstance(sys.stdout, Output)
    return read


def test_letters_that_the_encoding_lacks_are_escaped(monkeypatch):
    read = piped(monkeypatch)
    print("Ä")
    assert os.read(read, 100) == b"\\xc4\n"


def test_a_reader_that_goes_away_is_not_missed(monkeypatch):
    os.close(piped(monkeypatch))
    print("first")
    print("second", flush=True)
