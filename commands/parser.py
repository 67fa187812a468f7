"""Parser of settings: classes by their short names, null, and errors of one sentence."""

import traceback
from typing import Any

import torch
from jsonargparse import Namespace, set_dumper
from jsonargparse.typing import register_type
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import modules.heads
import modules.necks
import modules.temporal  # short names in YAML
import modules.text.recurrent
import modules.text.show_attend_tell
import modules.text.transformer  # noqa: F401
from commands.arguments import without_none
from commands.yaml_text import dump_yaml
from datamodules.workers import worker_error
from modules.contracts import ConfigError, DataError

set_dumper("yaml", dump_yaml)  # a class called 1e3 stays text
register_type(torch.device, deserializer_exceptions=RuntimeError)  # a default of StochasticWeightAveraging, as "cpu"


class Refused(ConfigError):
    """Arguments that a parser refuses, in its own words; `commands.errors.readable` finds the setting."""


class Parser(LightningArgumentParser):
    """Argument parser that raises in place of printing usage text and exiting."""

    def parse_args(self, args: list[str] | None = None, *rest: Any, **kwargs: Any) -> Namespace:
        """Accept null inside of dataclasses too, which jsonargparse hands to itself as the text "None"."""
        return super().parse_args(args if args is None else without_none(args), *rest, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> None:
        raise user_error(ex) or Refused(message) from ex


def user_error(error: BaseException | None) -> Exception | None:
    """The error that the user can fix, among an error and its causes; null for a fault of the program."""
    while error is not None:
        if isinstance(error, ConfigError | DataError | MisconfigurationException) or _says_lightning(error):
            return error
        if sentence := worker_error(error):
            return sentence
        error = error.__cause__ or error.__context__
    return None


def _says_lightning(error: BaseException) -> bool:
    """True for errors that Lightning itself raises, such as early stopping on a metric that is never logged."""
    raised = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    kinds = ValueError | TypeError | RuntimeError | ImportError  # the last: a package that it needs
    return (
        isinstance(error, kinds) and bool(raised) and raised[-1].startswith(("lightning.pytorch.", "lightning.fabric."))
    )
