"""Options that a command has beside those of `fit`, with errors of one sentence."""

import argparse
import re
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

from modules.contracts import ConfigError


class OwnOptions(argparse.ArgumentParser):
    """Parser of a command's own options; what it does not know is left to the parser of `fit`.

    Args:
        prog: program and command.
        usage: of the command.
        description: of the command.
        epilog: end of the help.
    """

    def __init__(self, prog: str, usage: str, description: str, epilog: str | None = None):
        super().__init__(prog, _wrapped(usage), description, epilog, allow_abbrev=False)

    def add_flag(self, option: str, text: str) -> None:
        """Add an option that is typed alone, or as the flags of `fit` with `true` or `false`."""
        self.add_argument(option, nargs="?", const=True, default=False, type=_true, metavar="true", help=text)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Take a value that begins with a dash, such as -5m, for a value."""
        known = {name for action in self._actions if action.nargs != 0 for name in action.option_strings}
        return super().parse_known_args(_joined(args, known), namespace)

    def error(self, message: str) -> NoReturn:
        """Raise the parser's message, with the option first.

        Raises:
            ConfigError: always.
        """
        command, needed = self.prog.rpartition(" ")[2], "the following arguments are required: "
        if message.startswith(needed):
            raise ConfigError(f"{command} needs {message.removeprefix(needed)}")
        option, _, said = message.removeprefix("argument ").rpartition(": ")
        said = "has no value: type one after it" if said == "expected one argument" else said
        raise ConfigError(f"{option.rpartition('/')[2] or command + ':'} {said}")


def _wrapped(usage: str) -> str:
    """The usage in lines of the terminal's width, without a break inside brackets."""
    whole = re.sub(r"\[.*?\]", lambda option: option[0].replace(" ", "\0"), f"usage: {usage}")
    width = shutil.get_terminal_size().columns - 2
    lines = textwrap.wrap(whole, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ").removeprefix("usage: ")


def _joined(words: Sequence[str], known: set[str]) -> list[str]:
    """The words, with `--option=-value` in place of the two words."""
    found: list[str] = []
    for word in words:
        value = re.match("-[^-]", word) and word not in ("-h", "-c")
        if value and found and found[-1] in known:
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def _true(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"is {text!r}, but is typed alone, or with true or false")
    return text == "true"
