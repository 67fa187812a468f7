"""The home folder in paths: `~` as the shell expands it, also where the shell does not, as in `--run_dir=~/runs`."""

from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from modules.contracts import ConfigError


def expand_home(value: Any) -> Any:
    """A setting with `~/...` and `~user/...` at the beginning of texts replaced, inside of lists and maps too.

    Raises:
        ConfigError: there is no such user.
    """
    if isinstance(value, str):
        return _expanded(value) if value.startswith("~") else value
    if isinstance(value, Namespace):
        for key, part in vars(value).items():
            setattr(value, key, expand_home(part))
        return value
    if isinstance(value, dict):
        return {key: expand_home(part) for key, part in value.items()}
    if isinstance(value, list):
        return [expand_home(part) for part in value]
    return value


def expand_word(word: str) -> str:
    """The same of a word of a command line: of the value in `--option=value`; it stays where there is no such user."""
    name, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    try:
        return f"{name}{equals}{expand_home(value)}"
    except ConfigError:  # said with the option's name by the early checks
        return word


def _expanded(text: str) -> str:
    if text != "~" and "/" not in text:
        return text  # a class or token may begin with it
    try:
        return str(Path(text).expanduser())
    except RuntimeError as error:
        raise ConfigError(f"{text} is in the home folder of a user that does not exist here") from error
