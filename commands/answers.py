"""Answers to mistakes: one sentence on standard error, and the exit code."""

import re
import sys

from modules.contracts import DataError


def report(error: Exception) -> int:
    """Print one sentence on standard error; returns the exit code: 1 is for data and files, 2 for settings."""
    sentence = re.split(r"(?:Config|Data)Error: ", str(error))[-1].strip()  # a worker puts its traceback in front
    print(f"error: {sentence}", file=sys.stderr)
    return 1 if isinstance(error, DataError) else 2
