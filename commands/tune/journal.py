"""Journal of a study: one line for each operation, mended after a kill and checked for damage."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from modules.contracts import DataError, writing

if TYPE_CHECKING:
    import optuna

JOURNAL = "study.journal"
GRACE = 10
"""Seconds after which the lock of the journal, held for milliseconds, counts as that of a killed process."""


def lock(journal: Path) -> "optuna.storages.journal.JournalFileOpenLock":
    """Lock of the journal, which holds on network file systems too; that of a killed process is broken.

    Optuna's default, a symbolic link to the path as given, leads nowhere from a relative path or in a folder that was
    moved, and is then waited for without end.
    """
    from optuna.storages.journal import JournalFileOpenLock

    return JournalFileOpenLock(str(journal), GRACE)


def mend(journal: Path) -> None:
    """Drop a last line that a killed process, or a full disk, left unfinished.

    Raises:
        DataError: another line is no operation; names it.
    """
    if not journal.is_file():
        return
    held = lock(journal)
    held.acquire()
    try:
        with writing(journal), journal.open("rb+") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)
    finally:
        held.release()
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        if not _operation(line):
            remedy = "choose another --run_dir" + ", or delete the line" * _dispensable(line)
            raise DataError(f"{journal} is damaged in line {number}, which is no operation of Optuna: {remedy}")


def _operation(line: bytes) -> bool:
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and "worker_id" in found and isinstance(found.get("op_code"), int)


def _dispensable(line: bytes) -> bool:
    """True unless the line may have begun a trial, without which those after it have others' numbers and folders."""
    code = re.search(rb'"op_code":\s*(\d+)\D', line)
    return not line.strip() or bool(code and code[1] != b"4")
