"""The assertions on refusals fail where they should."""

import pytest

from tests.helpers.errors import refuses, sentence


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
