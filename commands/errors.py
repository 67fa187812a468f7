"""Error messages about the command line and YAMLs: jsonargparse's reports as one sentence with a "did you mean"."""

import inspect
import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any, get_args, get_type_hints

from albumentations import BasicTransform
from jsonargparse import Namespace
from lightning.pytorch import Callback
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger
from torch.optim import Optimizer

from commands.early_checks import MEANT, missing_file, no_command
from datamodules import DataModule
from modules.backbones import C3D, class_of
from modules.contracts import Backbone, ConfigError, Neck, suggest
from modules.heads.base import Head
from modules.text.decoder import Decoder
from modules.text.encoder import Encoder
from tasks import Task

PARTS = (Task, DataModule, Backbone, Neck, Head, Encoder, Decoder, Callback, Optimizer, BasicTransform, Logger)


def check_trainer(config: dict[str, Any], task: Task) -> None:
    """Refuse trainer settings that Lightning accepts silently and fails on later.

    Args:
        config: the trainer's settings.
        task: the task to train.

    Raises:
        ConfigError: names the setting and what to do.
    """
    for name in ("max_epochs", "max_steps", "limit_train_batches"):
        if config[name] == 0:
            raise ConfigError(f"trainer.{name} is 0, so nothing would be trained: leave it out or raise it")
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch"):
        if config[name] is not None and config[name] < 1:
            raise ConfigError(f"trainer.{name} is {config[name]}, but it counts from 1")
    if config["overfit_batches"]:
        raise ConfigError(
            "trainer.overfit_batches takes the data's own order away: set --data.num_labels to a small number"
        )
    precision = str(config["precision"])
    if task.float32 and precision in ("64", "64-true", "16-true", "bf16-true"):
        raise ConfigError(
            f"trainer.precision is {precision}, but {type(task).__name__} has its weights in float32: take 32, "
            f"bf16-mixed or 16-mixed"
        )


def check_nulls(name: str, settings: Any) -> None:
    """Refuse null for settings of classes that take none; the parser lets it pass.

    Args:
        name: of the setting.
        settings: its value; classes in it are followed.

    Raises:
        ConfigError: names the setting.
    """
    if isinstance(settings, list):
        for part in settings:
            check_nulls(name, part)
    if not isinstance(settings, Namespace) or "class_path" not in settings:
        return
    module, _, cls = settings.class_path.rpartition(".")
    for key, value in vars(settings.get("init_args", Namespace())).items():
        if value is None and not _takes_null(getattr(import_module(module), cls), key):
            raise ConfigError(
                f"{name}.{key} is null, but it needs a value: give it one, or leave it out for the default"
            )
        check_nulls(f"{name}.{key}", value)


def _takes_null(cls: Any, key: str) -> bool:
    """True where an argument may be null, by its type and default where a class or a function names it."""
    for owner in inspect.getmro(cls) if inspect.isclass(cls) else (cls,):
        init = vars(owner).get("__init__") if inspect.isclass(owner) else owner
        found = inspect.signature(init).parameters.get(key) if inspect.isfunction(init) else None
        if found is not None:
            kinds = get_type_hints(init).get(key, Any)
            return found.default is None or kinds is Any or type(None) in get_args(kinds)
    return True


def readable(message: str, parser: LightningArgumentParser, typed: Sequence[str] = ()) -> str:
    """jsonargparse's report as one sentence, with the nearest name.

    It names options without their section, such as `data.`, which the typed arguments give back.

    Args:
        message: several indented lines, the reason among what every type of a union had to say.
        parser: knows the options.
        typed: the arguments as typed.
    """
    nested = re.search(r"NestedArg\(key='([^']*)'", message)
    keys = re.findall(r'Parser key "([^"]+)"', message)
    key = _as_typed(".".join([*keys[:1], *([nested[1]] if nested else keys[1:])]), typed)
    if nested and len(keys) == 1 and "Literal['pretrained']" in message:  # a setting of a part, not a word in its place
        if own := re.search(r"- (there is no .*|[\w.]+ (is '.*))", message):
            return f"{key} {own[2]}" if own[2] else own[1]
        if "must include a class_path" in message:
            return f"{key}: name the class of {keys[0]} first, such as --model.{keys[0]} Linear"
    classes = {c for part in PARTS for c in _subclasses(part)}

    def found(pattern: str) -> str | None:
        match = re.search(pattern, message)
        return match[1] if match else None

    if name := found(r"(?:unrecognized arguments: --|does not accept option '|Option ')([\w.]+)"):
        option_of = key if nested else _as_typed(".".join([*keys, name]), typed)
        dashes = "--" if option_of and option_of in _typed_names(typed) else ""  # not where it stands in a YAML
        meant = MEANT.get(name.rpartition(".")[2])
        if meant and meant not in (option_of, name) and (meant.count(".") > 1 or meant.rpartition(".")[2] != option_of):
            return f"there is no option {dashes}{option_of or name}: it is --{meant} here"
        known = {action.dest for action in parser._actions} | {
            f"{p}.{n}" for p in ("model", "data") for n in _arguments(classes)
        }
        section, _, last = option_of.rpartition(".")
        if section in ("data", "model"):
            ours = _subclasses(DataModule)
            hint = suggest(last, sorted(_arguments(ours if section == "data" else classes - ours)))
            hint = hint.replace("mean '", f"mean '{section}.")
        elif section and not keys:  # the parser of a class names its options without the section
            hint = suggest(name, sorted(known)).replace("mean '", f"mean '{option_of.removesuffix(name)}")
        else:
            hint = suggest(last, sorted({n.rpartition(".")[2] for n in known}))
        if f"{(option_of or name).rpartition('.')[2]!r}" in hint:
            hint = " here: only other classes have it"
        hint = hint.replace("mean '", f"mean '{dashes}")
        return f"there is no option {dashes}{option_of or name}{hint}"
    loading = re.search(r"Problem with given class_path '([^']+)':\s*(.+)", message)
    if loading and "." in loading[1]:
        return f"{key}: {loading[1]!r} cannot be loaded: {loading[2].strip()}"
    if (part := found(r"Import path does not correspond to a subclass of (\w+)")) and keys:
        given = found(r"Expected a path but (\S+)") or found(r"Given value: (\S+)")
        module = next((p.__module__ for p in PARTS if p.__name__ == part), "")
        return f"{key}: {given} is no {part}: derive it from {module}.{part}"
    if names := found(r"(?:following arguments are required|- required): (.+)"):
        names = [name.rpartition(".")[2].removeprefix("--") for name in names.split(", ")]
        return f"required: {', '.join('--' + '.'.join(filter(None, (key or _section(n), n))) for n in names)}"
    choices = found(r"Expected a typing\.Literal\[(.*?)\]")
    name = found(r"Expected a dot import path string: (\S+)")
    if name and nested and keys[0] == "backbone" and (cls := class_of(name)):
        part = key.removesuffix(f".{nested[1]}")
        own = "" if cls is C3D else f" --{part}.name {name.rpartition('/')[2]}"
        return f"{key} is a setting of a class, but {part} is {name!r}, a name: set --{part} {cls.__name__}{own} too"
    if name and not choices:
        return (
            f"{key}: there is no class {name!r}{suggest(name.rpartition('.')[2], sorted(c.__name__ for c in classes))}"
        )
    if choices:
        value = found(r"Got value: (.*)") or found(r"Given value: (?!NestedArg)(.*)") or found(r"val='([^']*)'")
        also = sorted(c.__name__ for c in classes) if name else []  # class names, if the setting takes a class as well
        hint = suggest(str(name or value), [*re.findall(r"'(.*?)'", choices), *also])
        return f"{key} is {name or value!r}, but must be one of {choices}{' or a class' if name else ''}{hint}"
    if kinds := re.findall(r"Expected a <class '(?!NoneType)(\w+)'>", message):
        kind = next((kind for kind in kinds if kind in ("int", "float")), kinds[0])
        value = found(r"Got value: (.*)") or found(r"val='([^']*)'") or found(r"Given value: (.*)")
        said = "null" if value == "None" else repr(value)
        return f"{key} is {said}, but must be {'a number' if kind in ('int', 'float') else kind} ({kind})"
    if path := found(r"File does not exist: '([^']+)'"):
        return missing_file(path)
    if word := found(r"invalid choice: '(\w+)'"):
        return no_command(word)
    if 'expected "subcommand"' in message:
        return no_command("")
    return re.sub(r"\s+", " ", message.split("Given value")[0]).strip()


def _typed_names(typed: Sequence[str]) -> set[str]:
    return {word[2:].partition("=")[0].replace("init_args.", "") for word in typed if word.startswith("--")}


def _as_typed(name: str, typed: Sequence[str]) -> str:
    """The option's name as typed, with its section; unchanged where none or several were typed that end so."""
    found = [word for word in _typed_names(typed) if name and f".{word}".endswith(f".{name}")]
    return found[0] if len(found) == 1 else name


def _subclasses(part: type) -> set[type]:
    return {part}.union(*map(_subclasses, part.__subclasses__()))


def _section(name: str) -> str:
    """The section of the options that an argument without a default belongs to; empty for those of other classes."""
    for section, part in (("data", DataModule), ("model", Task)):
        for own in _subclasses(part):
            argument = inspect.signature(own).parameters.get(name)
            if argument and argument.default is argument.empty:
                return section
    return ""


def _arguments(classes: set[type]) -> set[str]:
    ours = {c for c in classes if c.__module__.split(".")[0] in ("tasks", "datamodules", "modules", "callbacks")}
    return {
        name
        for c in ours
        for base in c.__mro__
        if "__init__" in vars(base)
        for name in inspect.signature(base.__init__).parameters
    } - {"self", "kwargs", "args"}
