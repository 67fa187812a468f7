"""Data modules of `check`: settings of `data` alone, and the data module that they describe, set up."""

from collections.abc import Sequence

import yaml
from jsonargparse import ActionConfigFile, Namespace

from commands.arguments import find_config, read_yaml
from commands.errors import readable
from commands.handed_on import FOLDS
from commands.home import expand_home
from commands.parser import Parser, Refused, user_error
from commands.setting_checks import check_classes, check_locations
from datamodules import DataModule
from datamodules.video import VideoFrames
from modules.contracts import ConfigError, DataError

EVERY = {"label_fraction": 1.0, "num_labels": None, **FOLDS}
"""Settings that would hide samples; a check looks at all."""


def parse(configs: Sequence[str], typed: list[str]) -> Namespace:
    """Settings of `data`: from the YAMLs, then as typed.

    Raises:
        ConfigError: an option that is none of the data's, or a value that it does not take.
    """
    words = []
    for config in configs:
        content = read_yaml(find_config(config))
        if isinstance(content, dict) and content.get("data") is not None:
            words += ["--config", yaml.safe_dump({"data": content["data"]})]
    words += typed
    for word in typed:
        if word.startswith("--") and word.partition("=")[0] != "--data" and not word.startswith("--data."):
            raise ConfigError(f"check looks at the data alone: leave out {word.partition('=')[0]}")
    if not words:
        raise ConfigError("check needs data: add --data with the name of a class, or --config tasks/NAME.yaml")
    parser = _parser()
    try:
        settings = expand_home(parser.parse_args(words))
    except Refused as error:
        raise ConfigError(readable(str(error), parser, words)) from error
    check_classes("data", settings.data)
    check_locations(Namespace(init_args=Namespace()), settings.data)
    for name, value in EVERY.items():
        if name in settings.data.init_args:
            settings.data.init_args[name] = value
    return settings


def prepared(settings: Namespace) -> tuple[DataModule, list[str], bool]:
    """The data module, set up to train; the sentences with which `fit` refuses it; and true if it is set up in the end.

    Where it is refused, it is set up once more without the samples that cannot be used.

    Raises:
        DataError: there is nothing to look at, as in `fit`.
    """
    refused: list[str] = []
    settings = settings.clone()
    for on_error in ("as typed", "skip"):
        if on_error == "skip":
            settings.data.init_args["on_error"] = "skip"
        data = None
        try:
            data = build(settings)
            data.setup("fit")
            return data, refused, True
        except DataError as error:
            refused += [str(error)] if str(error) not in refused else []
            if "on_error" not in settings.data.init_args or on_error == "skip":
                if data is not None and getattr(data, "splits", None):
                    return data, refused, False
                raise DataError(refused[0]) from error
    raise AssertionError("the second round returns or raises")


def build(settings: Namespace) -> DataModule:
    """The data module of the settings, not yet set up; of frames of videos, that of the videos."""
    try:
        data = _parser().instantiate(Namespace(data=settings.data)).data
    except ValueError as error:  # the parser puts its own around it
        raise user_error(error) or error from error
    data.prepare_data()
    data.set_letterbox(True)  # images of any size
    return data.videos if isinstance(data, VideoFrames) else data


def _parser() -> Parser:
    parser = Parser()
    parser.add_argument("--config", action=ActionConfigFile)
    parser.add_lightning_class_args(DataModule, "data", subclass_mode=True)
    return parser
