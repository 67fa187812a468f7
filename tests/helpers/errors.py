"""Assertions on refusals: the exception's type or the command's exit code, and the names that the message must hold.

A name is an option, a file, a line or a value. The wording around it is free, except for the golden sentences of
`tests/cli/test_sentences.py`.
"""

import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest


@contextmanager
def refuses(error: type[Exception], *names: object) -> Iterator[pytest.ExceptionInfo]:
    """Assert that the block raises `error` with a message that names every one of `names`.

        with refuses(ConfigError, "data.crop", "[0.5, 2.0]"):
            Shapes(crop=(0.5, 2.0))

    Args:
        error: the type of the exception.
        names: plain text, or anything whose `str` is meant; see `assert_named`.

    Returns:
        pytest's information on the exception, whose `value` is set when the block is over.
    """
    with pytest.raises(error) as caught:
        yield caught
    assert_named(str(caught.value), *names)


def sentence(stderr: str, *names: object) -> str:
    """Assert that a command said one single sentence on standard error, which names every one of `names`.

    Args:
        stderr: all that the command wrote there.
        names: as those of `refuses`.

    Returns:
        The sentence without `error: ` in front of it.
    """
    assert "Traceback" not in stderr, stderr
    assert stderr.startswith("error: ") and stderr.find("\n") == len(stderr) - 1, f"not one line: {stderr!r}"
    said = stderr.removeprefix("error: ").rstrip("\n")
    assert_named(said, *names)
    return said


def assert_named(message: str, *names: object) -> None:
    """Assert that each of `names` stands in `message` as it is, and not inside of a longer word or number.

    `batch_size` and `data.batch_size` are named by `--data.batch_size is 4`, but `batch` and `12` are not named by
    `batch_size is 128`.
    """
    missing = [str(name) for name in names if not _whole(str(name)).search(message)]
    assert not missing, f"{missing} not named in: {message}"


def line_naming(lines: Iterable[str], *names: object) -> str:
    """The one line of a report that names every one of `names`; fails where none or several do.

    Args:
        lines: such as those of a data module's `describe`.
        names: as those of `refuses`.
    """
    lines = list(lines)
    found = [line for line in lines if all(_whole(str(name)).search(line) for name in names)]
    assert len(found) == 1, f"{[str(name) for name in names]} named by {len(found)} of {lines}"
    return found[0]


@contextmanager
def warnings_of(module: ModuleType) -> Iterator[list[str]]:
    """Collect the warnings that `module` itself gives in the block, however they are worded.

        with warnings_of(collapse) as said:
            trainer.fit(task)
        assert said == []

    Args:
        module: whose file the warnings come from; those of other files are dropped.

    Returns:
        The messages, filled when the block is over.
    """
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield messages
    messages.extend(str(each.message) for each in caught if each.filename == module.__file__)


def _whole(name: str) -> re.Pattern[str]:
    before = r"(?<!\w)" if re.match(r"\w", name) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", name) else ""
    return re.compile(before + re.escape(name) + after)
