"""Types of settings that are given in Python, where no parser checks them: parts, functions and words."""

import inspect
import types
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import nn

from modules.contracts.errors import ConfigError

OURS = ("modules", "tasks", "datamodules")


def check_kinds(section: str, cls: type, values: Mapping[str, Any]) -> None:
    """Refuse settings that are none of the parts, functions or words that their annotations name.

    Numbers, texts and classes of other libraries are left to whoever uses them: many types do as well.

    Args:
        section: `model` or `data`.
        cls: class that is built.
        values: its arguments by name; those that Lightning's command line marks were checked by its parser.

    Raises:
        ConfigError: names the setting, its value and what it takes.
    """
    for name, value in values.items() if "_instantiator" not in values else ():
        kind, _ = parameter(cls, name)
        allowed = members(kind)
        if any(_is_named(one) for one in allowed) and not any(_fits(value, one) for one in allowed):
            plain = value is None or isinstance(value, str | int | float)
            said = repr(value) if plain else f"a {type(value).__name__} object"
            words = ", ".join(dict.fromkeys(_in_words(one) for one in allowed))
            raise ConfigError(f"{section}.{name} is {said}, but must be one of: {words}")


def members(kind: Any) -> list[Any]:
    """Alternatives of a type; itself if it is no union."""
    if get_origin(kind) in (Union, types.UnionType):
        return [member for each in get_args(kind) for member in members(each)]
    return [kind]


def parameter(cls: Any, key: str) -> tuple[Any, Any]:
    """Type and default of an argument, where a class or a function names it; `Any` where none does."""
    for owner in inspect.getmro(cls) if inspect.isclass(cls) else (cls,):
        init = vars(owner).get("__init__") if inspect.isclass(owner) else owner
        found = inspect.signature(init).parameters.get(key) if inspect.isfunction(init) else None
        if found is not None:
            with suppress(NameError):  # imported for type checkers alone
                return get_type_hints(init).get(key, Any), found.default
            return Any, found.default
    return Any, None


def _is_named(kind: Any) -> bool:
    """True for types that a value can be told to be or not to be: words, functions and classes of ours."""
    ours = inspect.isclass(kind) and kind.__module__.partition(".")[0] in OURS
    return ours or get_origin(kind) in (Literal, Callable)


def _fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if origin is Literal:
        return isinstance(value, Hashable) and value in get_args(kind)
    if origin is Callable:
        return callable(value) and not isinstance(value, nn.Module)
    if origin in (list, tuple, Iterable):
        return isinstance(value, Iterable) and not isinstance(value, str)
    return not inspect.isclass(kind) or isinstance(value, kind)


def _in_words(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return ", ".join(map(repr, get_args(kind)))
    if origin is Callable:
        made = getattr(get_args(kind)[-1], "__name__", "part")
        return f"a class or function that makes a {made}"
    if origin in (list, tuple, Iterable):
        return "a list"
    names = {types.NoneType: "None", str: "text"}
    return names.get(kind) or f"a {getattr(kind, '__name__', kind)}"
