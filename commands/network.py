"""Network of the commands that paint: the backbone of a run, or one by its name with weights of its own."""

from typing import Any, NamedTuple

import torch
from jsonargparse import Namespace

from commands.errors import readable
from commands.evaluate import idle_trainer
from commands.home import expand_home
from commands.parser import Parser, Refused, user_error
from commands.predictor import Predictor
from commands.setting_checks import check_float32
from modules.backbones import by_name
from modules.backbones.activations import Activation
from modules.backbones.exchange import Pooling, exchange_layers
from modules.contracts import Backbone, ConfigError
from modules.training.transfer import load_backbone
from tasks import VisionTask


class Network(NamedTuple):
    """A frozen backbone in evaluation mode.

    Args:
        backbone: on `device`.
        about: name and source of the weights, in words.
        device: to compute on.
    """

    backbone: Backbone
    about: str
    device: torch.device


def read_network(command: str, ckpt_path: str | None, typed: list[str]) -> Network:
    """The network of a command.

    Args:
        command: its name.
        ckpt_path: a .ckpt file or a run directory, of whose task the exported backbone is taken; null for none.
        typed: all other words: settings of `predict` beside a checkpoint; else `--model.backbone`, `--model.weights`,
            `--model.small_images`, `--model.activation`, `--model.pooling` and `--trainer.accelerator`.

    Raises:
        ConfigError: no network, one without backbone, or a setting that does not exist.
        DataError: no checkpoint, or no weights.
    """
    check_float32(command, typed)
    if ckpt_path:
        predictor = Predictor.load(ckpt_path, *typed)
        task = predictor.task
        if not isinstance(task, VisionTask):
            raise ConfigError(f"--ckpt_path {ckpt_path} is of {predictor.name}, which has no backbone: choose another")
        return _frozen(task.exported, f"of {predictor.name}, {predictor.checkpoint}", task.device)
    if not any(word.partition("=")[0] == "--model.backbone" for word in typed):
        file = "with --model.weights FILE"
        raise ConfigError(f"{command} needs a network: add --ckpt_path RUN, or --model.backbone NAME {file}")
    return _named(typed)


def _named(typed: list[str]) -> Network:
    parser = Parser()
    parser.add_function_arguments(_settings, "model", fail_untyped=False)
    parser.add_argument("--trainer.accelerator", type=str, default="auto")
    try:
        settings = expand_home(parser.parse_args(typed))
        backbone = parser.instantiate(Namespace(model=settings.model)).model.backbone
    except Refused as error:
        raise ConfigError(readable(str(error), parser, typed)) from error
    except ValueError as error:  # the parser puts its own around it
        raise user_error(error) or error from error
    small, weights = settings.model.small_images, settings.model.weights
    if isinstance(backbone, str):
        backbone = by_name(backbone, small)
    elif small:
        raise ConfigError("--model.small_images belongs into the settings of a backbone by class_path")
    exchange_layers(backbone, settings.model.activation, settings.model.pooling)
    about = load_backbone(backbone, weights) if weights else "with random weights"
    trainer: Any = idle_trainer(settings.trainer.accelerator, None)
    return _frozen(backbone, about, trainer.strategy.root_device)


def _settings(
    backbone: Backbone | str,
    weights: str | None = None,
    small_images: bool = False,
    activation: Activation | None = None,
    pooling: Pooling = "max",
) -> None:
    """Settings of a network by its name; see `VisionTask`."""


def _frozen(backbone: Backbone, about: str, device: torch.device) -> Network:
    return Network(backbone.to(device).float().eval().requires_grad_(False), f"{backbone.name} {about}", device)
