"""Refusals of the command line and of YAMLs, each in one sentence: the setting, its value and what it takes."""

import inspect
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from math import isfinite
from types import NoneType
from typing import Any, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace

from commands.aliases import MEANT, TECHNIQUE
from commands.arguments import read_yaml
from commands.given_settings import MISSING, Setting, given_settings
from commands.setting_types import (
    Part,
    accepts,
    exists,
    find_class,
    in_words,
    members,
    no_group,
    offered,
    parts,
)
from datamodules.setting_roles import arguments_of
from modules.backbones import ALONE, class_of
from modules.contracts import Backbone, suggest


def readable(message: str, parser: ArgumentParser, words: Sequence[str]) -> str:
    """The first setting that a parser refuses, as one sentence.

    Args:
        message: the parser's own, taken where no setting is found to be wrong.
        parser: of the command; its actions know the types of the settings.
        words: the arguments that it refused.
    """
    given, known = list(given_settings(words)), {}
    for setting in given:
        if sentence := _wrong(setting, setting.name, parser, known):
            return sentence
    names = [f"{setting.name}." for setting in given]
    lacking = [
        f"--{prefix}.{action.dest}"
        for prefix, part in known.items()
        if isinstance(part, Part)
        for action in class_parser(part)._actions
        if action.required and not any(name.startswith(f"{prefix}.{action.dest}.") for name in names)
    ]
    message = re.sub(r"the following arguments are required: \w+\.", "required: --", " ".join(message.split()))
    return f"required: {', '.join(lacking)}" if lacking else message


@cache
def class_parser(part: Part) -> ArgumentParser:
    """The settings of a part as options, without what the program gives."""
    parser = ArgumentParser(exit_on_error=False, add_help=False)
    add = parser.add_class_arguments if inspect.isclass(part.base) else parser.add_function_arguments
    add(part.base, skip={part.given} if part.given else set(), fail_untyped=False)
    return parser


def _wrong(
    setting: Setting, rest: str, parser: ArgumentParser, known: dict[str, Any], base: type | None = None
) -> str | None:
    """A sentence about a setting that `parser` refuses; null if it takes it.

    Args:
        setting: as given.
        rest: its name without the names of the parts that `parser` belongs to.
        parser: of the command, or of the class of a part.
        known: classes and values of the settings before it, which is added.
        base: the base of that class.
    """
    actions = {action.dest: action for action in parser._actions if kind_of(action)}  # argparse has no public list
    names = rest.split(".")
    heads = (".".join(names[:end]) for end in range(len(names), 0, -1))
    dest = next((name for name in heads if name in actions), None)
    if dest is None:
        if names[-1] == "init_args":
            return no_group(setting.name, setting.value)
        if any(name.startswith(f"{rest}.") for name in actions):
            return None if setting.value == {} else no_group(setting.name, setting.value)
        silent = base is None and len(names) == 1  # checked before
        return None if silent else _no_option(setting, rest, actions, base)
    inner, kind, default = rest[len(dest) + 1 :], kind_of(actions[dest]), actions[dest].default
    name = setting.name.removesuffix(f".{inner}")
    if not inner:
        return _wrong_value(setting, kind, default, known)
    part = known.setdefault(name, default_part(kind, default))
    if isinstance(part, Part):
        return _wrong(setting, inner, class_parser(part), known, parts(kind)[0].base)
    return _without_class(setting, name, parts(kind), part)


def kind_of(action: Any) -> Any:
    """Type of an action; null for those that hold no value."""
    return getattr(action, "_typehint", None) or action.type


def default_part(kind: Any, default: Any) -> Any:
    """The default of a setting, as a part if it is a class."""
    path = default.get("class_path") if isinstance(default, dict | Namespace) else default
    for part in parts(kind):
        if inspect.isclass(path):
            return Part(path, part.given)
        with suppress(LookupError):
            return find_class(str(path), part)
    return default


def _wrong_value(setting: Setting, kind: Any, default: Any, known: dict[str, Any]) -> str | None:
    name, value, found, reason = setting.name, setting.value, parts(kind), ""
    if value == MISSING:
        return f"--{name} has no value: type one after it"
    content = read_yaml(value) if isinstance(value, str) and value.startswith("[") else value
    if not name.startswith("trainer.") and (strange := _not_finite(content)):
        return f"{name} is {value}, but must be finite numbers, not {strange}"
    known[name] = value
    for part in found if isinstance(value, str) else ():
        try:
            known[name] = find_class(value, part)
            return None
        except LookupError as error:
            reason = reason or str(error)
    several = any(get_origin(member) in (list, Sequence, Iterable) for member in members(kind))
    fits = accepts(kind, value) and not setting.of_class
    if fits or (found and several and isinstance(value, list)):
        return None
    said = "null" if value in (None, "null") else repr(value)
    if reason:
        return f"{name} is {said}, but {reason}"
    words = [cls.__name__ for part in found for cls in offered(part.base)]
    words += [word for member in members(kind) for word in get_args(member) if isinstance(word, str)]
    path = found and "." in str(value)  # of a class that does not fit
    other = path or any(exists(str(value), part.base) for part in found)
    hint = "" if other else suggest(str(value), sorted(words))
    if (meant := TECHNIQUE.get(str(value).replace("-", "_").lower(), name)) != name:
        return f"{name} is {said}: it is --{meant} here"
    if hint and all(parts(member) or member is NoneType for member in members(kind)):
        return f"{name}: there is no class {said}{hint}"
    takes = in_words(kind, default)
    return f"{name} is {said}, but must be {takes if '.' in name else takes.removesuffix(' or null')}{hint}"


def _not_finite(value: Any) -> float | None:
    """The first number of a list that is nan or infinite."""
    return (
        next((x for x in value if isinstance(x, float) and not isfinite(x)), None) if isinstance(value, list) else None
    )


def _without_class(setting: Setting, name: str, found: list[Part], value: Any) -> str | None:
    """A sentence about a setting of a part whose class is not named; null for keys of a mapping."""
    if not found:
        return None
    if found[0].base is Backbone and isinstance(value, str) and (cls := class_of(value)):
        own = "" if value in ALONE else f" --{name}.name {value.rpartition('/')[2]}"
        remedy = f"set --{name} {cls.__name__}{own} too"
        return f"{setting.name} is a setting of a class, but {name} is {value!r}, a name: {remedy}"
    names = [cls.__name__ for cls in offered(found[0].base) if setting.name[len(name) + 1 :] in arguments_of(cls)]
    if not names:
        return f"there is no option {'--' * setting.typed}{setting.name}: no {found[0].base.__name__} has it"
    return f"{setting.name} is a setting of a class: name the class of {name} first, such as --{name} {names[0]}"


def _no_option(setting: Setting, rest: str, actions: dict[str, Any], base: type | None) -> str:
    """A sentence about an option that does not exist, with what it may mean.

    Args:
        setting: as given.
        rest: its name inside of the part that lacks it.
        actions: settings of that part, by name.
        base: the base of its class.
    """
    dashes, here = "--" * setting.typed, list(actions)
    last, prefix = rest.rpartition(".")[2], setting.name.removesuffix(rest)
    said = f"there is no option {dashes}{setting.name}"
    if meant := _meant(last, prefix, actions):
        return f"{said}: it is --{meant} here"
    option = MEANT.get(last, "").partition(" ")[0]
    alias = option.removeprefix(prefix) if prefix and option.startswith(prefix) else ""
    for name, head in ((rest, rest), (alias, alias.partition(".")[0])):
        if others := [cls.__name__ for cls in offered(base) if head in arguments_of(cls)] if base else []:
            called = "" if name == rest else f", as --{prefix}{name}"
            return f"{said} here: only other classes have it{called}, such as {', '.join(others[:3])}"
    hint = suggest(rest, here).replace("mean '", f"mean '{dashes}{prefix}")
    section = rest.partition(".")[0] + "." if base is None else ""
    plain = [name for name in here if name.startswith(section) and "." not in name.removeprefix(section)]
    return said + (hint or f": there are {', '.join(plain)}")


def _meant(last: str, prefix: str, actions: dict[str, Any]) -> str:
    """The option that has a name at another place or in other programs; empty if there is none.

    Args:
        last: the name, without what stands before it.
        prefix: of the part that lacks it, such as `model.`.
        actions: settings of that part, by name.
    """
    parts_here = actions.items() if prefix else ()
    inner = [f"{dest}.{name}" for dest, action in parts_here for name in _settings_of_part(action)]
    if own := next((name for name in inner if name.endswith(f".{last}")), ""):
        return prefix + own
    meant = MEANT.get(last, "")
    option = meant.partition(" ")[0]
    lacks_it = prefix and option.startswith(prefix) and option.removeprefix(prefix) not in {*actions, *inner}
    return "" if lacks_it or option == prefix + last else meant


def _settings_of_part(action: Any) -> list[str]:
    """Names of the settings of the class that a setting has by default; empty for settings of other kinds."""
    part = default_part(kind_of(action), action.default)
    return list(arguments_of(part.base))[part.given :] if isinstance(part, Part) and inspect.isclass(part.base) else []
