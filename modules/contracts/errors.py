"""The two kinds of user error, and hints in their sentences."""

import errno
import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

ENDLESS = {
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}
"""Kinds of files that are not read, by their test of `stat`."""


class ConfigError(Exception):
    """A wrong command or setting; one sentence, exit code 2."""


class DataError(Exception):
    """Wrong data or files; one sentence, exit code 1."""


def check_range(name: str, value: float, low: float = 0, high: float = math.inf) -> None:
    """Check that a setting is a finite number in [low, high].

    Raises:
        ConfigError: it does not; names the setting and its value.
    """
    if not (low <= value <= high and math.isfinite(value)):
        wanted = f"at least {low:g}" if high == math.inf else f"within {low:g}..{high:g}"
        raise ConfigError(f"{name} is {value:g}, but must be {wanted}")


def check_sizes(section: str, **sizes: int) -> None:
    """Check that sizes (widths, channels, numbers of layers) are 1 or more.

    Raises:
        ConfigError: one is not; names the setting, as `section.name`, and its value.
    """
    for name, value in sizes.items():
        check_range(f"{section}.{name}", value, 1)


def suggest(word: str, words: list[str]) -> str:
    """A hint for a misspelt word, in any case: "; did you mean X?", or nothing when none is near."""
    match = get_close_matches(word, words, n=1, cutoff=0.5)
    same = [each for each in words if each.lower() == word.lower()]
    return f"; did you mean {(same or match)[0]!r}?" if same or match else ""


def regular(path: Path) -> Path:
    """The path of a file to be opened: pipes, sockets and devices, which may never end, are refused.

    Links are followed; a folder is left to whoever opens it.

    Raises:
        OSError: there is none, or it is one of those, as `strerror` says.
    """
    mode = path.stat().st_mode
    if kind := next((kind for is_kind, kind in ENDLESS.items() if is_kind(mode)), None):
        raise OSError(errno.EINVAL, f"is {kind}, no regular file", str(path))
    return path


@contextmanager
def naming(option: str) -> Iterator[None]:
    """Put the option in front of the sentence on data that cannot be read."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{option}: {error}") from error


@contextmanager
def writing(path: Path, option: str = "--run_dir") -> Iterator[None]:
    """Turn an OSError, such as a full disk or a read-only folder, into a DataError of one sentence.

    Args:
        path: that is written.
        option: of the command, which names another place.
    """
    try:
        yield
    except OSError as error:
        space = "free some space or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        said = f"cannot write {path}: {error.strerror or error}; {space}choose another {option}"
        raise DataError(said) from error
