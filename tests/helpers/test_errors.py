"""The assertions on refusals fail where they should."""

import sys
import warnings

import pytest

from tests.helpers.errors import line_naming, refuses, sentence, warnings_of


@pytest.mark.parametrize("names", [["batch"], ["12"], ["data.crop"], ["--data.batch_size", "data.root"], ["d.batch"]])
def test_a_name_that_is_missing_or_part_of_a_longer_one_fails(names):
    message = "--data.batch_size is 128, but [a.b] has 1.5 (2.png)"
    with pytest.raises(AssertionError), refuses(ValueError, *names):
        raise ValueError(message)
    with pytest.raises(AssertionError):
        sentence(f"error: {message}\n", *names)


def test_names_are_plain_text_and_whole():
    with refuses(ValueError, "batch_size", "data.batch_size", "--data.batch_size", 128, "[a.b]", "(2.png)") as caught:
        raise ValueError("--data.batch_size is 128, but [a.b] has 1.5 (2.png)")
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("stderr", ["", "no file\n", "error: no file", "error: no\nfile\n", "error: Traceback\n"])
def test_anything_but_one_sentence_fails(stderr):
    with pytest.raises(AssertionError):
        sentence(stderr)


def test_another_exception_or_none_fails():
    with pytest.raises(KeyError), refuses(ValueError):
        raise KeyError
    with pytest.raises(pytest.fail.Exception), refuses(ValueError):
        pass


def test_a_line_is_found_by_names_if_it_is_the_only_one():
    lines = ["a.png is 1", "a.png is 2", "b.png is 2"]
    assert line_naming(lines, "a.png", 2) == lines[1]
    for names in (["a.png"], ["c.png"], ["b.png", 1]):
        with pytest.raises(AssertionError):
            line_naming(lines, *names)


def test_warnings_of_a_module_are_collected_without_those_of_others():
    with warnings_of(sys.modules[__name__]) as said:
        warnings.warn("mine", stacklevel=1)
        warnings.warn_explicit("another's", UserWarning, "other.py", 1)
    assert said == ["mine"]
