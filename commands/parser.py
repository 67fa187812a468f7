"""Parser of settings: classes by their short names, null, and errors of one sentence."""

import argparse
import errno
import shutil
import textwrap
import traceback
from typing import Any

import torch
from jsonargparse import Namespace, set_dumper
from jsonargparse.typing import register_type
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import datamodules
import modules.heads
import modules.necks
import modules.temporal  # short names in YAML
import modules.text.recurrent
import modules.text.show_attend_tell
import modules.text.transformer  # noqa: F401
import tasks
from commands.arguments import find_config, flatten, normalized, parse_known, read_yaml, typed_class
from commands.yaml_text import dump_yaml
from datamodules.workers import worker_error
from modules.contracts import ConfigError, DataError

set_dumper("yaml", dump_yaml)  # a class called 1e3 stays text
register_type(torch.device, deserializer_exceptions=RuntimeError)  # a default of StochasticWeightAveraging, as "cpu"


class Refused(ConfigError):
    """Arguments that a parser refuses, in its own words; `commands.errors.readable` finds the setting."""


class Parser(LightningArgumentParser):
    """Argument parser that raises in place of printing usage text and exiting."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, allow_abbrev=False, **kwargs)  # a typo is no abbreviation

    def parse_args(self, args: list[str] | None = None, *rest: Any, **kwargs: Any) -> Namespace:
        """Accept null inside of dataclasses too, which jsonargparse hands to itself as the text "None"."""
        return super().parse_args(args if args is None else normalized(args), *rest, **kwargs)

    def format_help(self) -> str:
        """Help whose headings fit the terminal too."""
        width = shutil.get_terminal_size().columns
        lines = super().format_help().splitlines(keepends=True)
        return "".join(line if line[:1].isspace() else f"{textwrap.fill(line, width)}\n" for line in lines)

    def error(self, message: str, ex: Exception | None = None) -> None:
        raise user_error(ex) or Refused(message) from ex


def ends_by_itself(end: SystemExit) -> bool:
    """True if the parser ends the program, as after a help; false if a module of the user does when imported."""
    frames = (frame for frame, _ in traceback.walk_tb(end.__traceback__))
    return any(frame.f_code is argparse.ArgumentParser.exit.__code__ for frame in frames)  # W&B puts frames behind it


def typed_classes(argv: list[str]) -> dict[str, type]:
    """Classes of `model` and `data` as typed, or as the YAML says, where they are of this program."""
    packages = {"model": tasks, "data": datamodules}
    found = {section: vars(package).get(typed_class(argv, section) or "") for section, package in packages.items()}
    return {section: cls for section, cls in found.items() if isinstance(cls, type)}


def show_values(parser: LightningArgumentParser, argv: list[str]) -> None:
    """Make the values of the YAML the defaults that a help shows."""
    names = {action.dest for action in parser._actions}
    groups = {name.rpartition(".")[0] for name in names if not name.endswith(".help")}
    for config in parse_known(argv).config:
        text = read_yaml(find_config(config))
        values = flatten(text, skip="init_args") if isinstance(text, dict) else {}
        values = {name.removesuffix(".class_path"): value for name, value in values.items()}
        parser.set_defaults({name: value for name, value in values.items() if name in names - groups})


def user_error(error: BaseException | None) -> Exception | None:
    """The error that the user can fix, among an error and its causes; null for a fault of the program."""
    while error is not None:
        if isinstance(error, ConfigError | DataError | MisconfigurationException) or _says_lightning(error):
            return error
        if sentence := worker_error(error):
            return sentence
        if isinstance(error, MemoryError):  # of the host; torch raises another for a device
            return DataError(f"memory is full ({error}): lower --data.batch_size, --data.image_size or the model")
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # a path in a YAML
            return ConfigError(f"{str(error.filename)[:30]}... is too long for the name of a file")
        error = error.__cause__ or error.__context__
    return None


def _says_lightning(error: BaseException) -> bool:
    """True for errors about settings that Lightning raises: values, missing packages, and all of its callbacks.

    EarlyStopping on a metric that is never logged is one. Other errors in Lightning are faults of this program.
    """
    raised = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    place = raised[-1] if raised else ""
    if isinstance(error, ValueError | ImportError):
        return place.startswith(("lightning.pytorch.", "lightning.fabric."))
    return isinstance(error, RuntimeError) and place.startswith("lightning.pytorch.callbacks.")
