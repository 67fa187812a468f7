"""Types of settings, as the parser's actions hold them: the values and classes that they take, and these in words."""

import inspect
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import is_dataclass
from enum import Enum
from importlib import import_module
from os import PathLike
from types import NoneType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from jsonargparse import ArgumentError, ArgumentParser

from modules.contracts import suggest
from modules.contracts.kinds import members

MOST = 50  # names of classes in one sentence
WORDS = {NoneType: "null", int: "a whole number", float: "a number", str: "text"}
PLURALS = {int: "whole numbers", float: "numbers", str: "texts", bool: "true or false"}
COUNTS = {1: "one", 2: "two", 3: "three", 4: "four"}
EXAMPLES = {int: (224, 224), float: (0.2, 1.0), str: ("cat", "dog"), bool: (True, False)}


class Part(NamedTuple):
    """Classes that a setting takes by name or path: those derived from `base`.

    Args:
        base: the class.
        given: parameters that the program itself gives, the first ones.
    """

    base: Any
    given: int = 0


def parts(kind: Any) -> list[Part]:
    """Classes that a type takes, alone, as a factory or in a list."""
    return [part for member in members(kind) for part in _parts(member)]


def _parts(kind: Any) -> list[Part]:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (list, Sequence, Iterable) and args:
        return parts(args[0])
    if origin is Callable and args and args[0] is ...:  # any function
        return []
    if origin is Callable and args and all(map(inspect.isclass, members(args[-1]))):
        return [Part(made, len(args[0])) for made in members(args[-1])]
    plain = not inspect.isclass(kind) or origin is not None or is_dataclass(kind)
    if plain or kind.__module__ in ("builtins", "datetime", "pathlib") or issubclass(kind, Enum | PathLike | tuple):
        return []
    return [Part(kind)]


def accepts(kind: Any, value: Any) -> bool:
    """True if a value is one of a type's plain alternatives, classes aside: text as typed, or what a YAML holds."""
    plain = [member for member in members(kind) if not _parts(member)]
    if NoneType in plain and value in (None, "null"):  # alone it is no type that a parser knows
        return True
    if not plain:
        return False
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=Union[tuple(plain)])  # noqa: UP007  # built here
    try:
        parser.parse_args([f"--value={value}"]) if isinstance(value, str) else parser.parse_object({"value": value})
    except ArgumentError:
        return False
    return True


def in_words(kind: Any, example: Any = None) -> str:
    """All that a type takes, such as `'a', 'b', a whole number or null`.

    Args:
        kind: the type.
        example: the setting's default, shown where a list or tuple is asked for.
    """
    said = list(dict.fromkeys(word for member in members(kind) for word in _words(member, example)))
    said.sort(key="null".__eq__)
    return " or ".join(filter(None, (", ".join(said[:-1]), said[-1])))


def _words(kind: Any, example: Any) -> list[str]:
    origin, args = get_origin(kind), get_args(kind)
    if kind in WORDS:
        return [WORDS[kind]]
    if kind is bool:
        return ["true", "false"]
    if origin is Literal:
        return [repr(value) for value in args]
    if found := _parts(kind):
        several = ["a list of these"] if origin in (list, Iterable) else []
        return [word for part in found for word in _class_words(part.base)] + several
    if origin in (list, tuple, Sequence, set):
        alike = origin is not tuple or args[-1:] == (...,)
        inside = args[0] if args else str
        size = 2 if alike else len(args)
        usual = EXAMPLES.get(inside) or (get_args(inside) if get_origin(inside) is Literal else ("...",))
        shown = example if _fits(example, None if alike else size) else usual
        shown = shown if alike else [shown[i % len(shown)] for i in range(size)]
        of = PLURALS.get(inside) or (f"values ({in_words(inside)})" if args else "values")
        many = "a list of" if alike else COUNTS.get(size, str(size))
        return [f"{many} {of} such as [{', '.join(map(_example, shown))}]"]
    if origin is dict or kind is dict:
        return ["a mapping such as {name: value}"]
    if inspect.isclass(kind) and issubclass(kind, Enum):
        return [repr(value.name) for value in kind]
    return ["the path of a function" if origin is Callable else getattr(kind, "__name__", str(kind))]


def _class_words(base: type) -> list[str]:
    names = [cls.__name__ for cls in offered(base)]
    own = f"the path of a class of your own derived from {base.__module__}.{base.__name__}"
    return [*names, own] if len(names) <= MOST else [f"the name of a {base.__name__}", own]


def _fits(example: Any, size: int | None) -> bool:
    return isinstance(example, list | tuple) and bool(example) and size in (None, len(example))


def _example(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def offered(base: type) -> list[type]:
    """Classes derived from `base` that can be named: neither abstract nor private, nor bases that are not exported."""
    return sorted((cls for cls in _derived(base) if _named(cls)), key=lambda cls: cls.__name__)


def exists(name: str, base: type) -> bool:
    """True if a class of that name is known that is no `base`, but of its larger family, such as another head."""
    return any(cls.__name__ == name for larger in base.__mro__[1:-1] for cls in _derived(larger))


def _derived(base: type) -> set[type]:
    found = {base}
    while more := {cls for each in found for cls in type.__subclasses__(each)} - found:
        found |= more
    return found - {base}


def _named(cls: type) -> bool:
    if inspect.isabstract(cls) or cls.__name__.startswith("_") or "<locals>" in cls.__qualname__:
        return False
    package = cls.__module__.partition(".")[0]
    ours = package in ("tasks", "modules", "datamodules", "callbacks")
    room = import_module(cls.__module__.rpartition(".")[0]) if ours and "." in cls.__module__ else None
    return room is None or cls.__name__ in getattr(room, "__all__", (cls.__name__,))


def find_class(name: str, part: Part) -> Part:
    """The class of that name or path, with the parameters that the program gives; a factory may be a function.

    Raises:
        LookupError: there is none; says why, without naming the setting, if the path cannot be imported.
    """
    base = part.base
    if "." not in name or not all(word.isidentifier() for word in name.split(".")):
        found = [cls for cls in (base, *offered(base)) if cls.__name__ == name]
        if not found:
            raise LookupError
        paths = sorted({f"{cls.__module__}.{cls.__qualname__}" for cls in found})
        if paths[1:]:
            raise LookupError(f"{len(paths)} classes have that name: write {' or '.join(paths)}")
        return _whole(found[-1], part)
    path, _, attribute = name.rpartition(".")
    try:
        module = import_module(path)
    except ModuleNotFoundError as error:
        if error.name and f"{path}.".startswith(f"{error.name}."):
            remedy = "check its name, or type the command in the folder that holds it"
            raise LookupError(f"there is no module {error.name!r}: {remedy}") from error
        raise LookupError(_failed(path, error)) from error
    except (Exception, SystemExit) as error:  # whatever a module of the user raises
        raise LookupError(_failed(path, error)) from error
    cls = getattr(module, attribute, None)
    if cls is None:
        hint = suggest(attribute, [word for word in vars(module) if not word.startswith("_")])
        raise LookupError(f"the module {path!r} has no {attribute!r}{hint}")
    if not (issubclass(cls, base) if inspect.isclass(cls) else part.given and _returns(cls, base)):
        raise LookupError
    return _whole(cls, part)


def _whole(cls: Any, part: Part) -> Part:
    if lacking := lacks(cls):
        raise LookupError(lacking)
    return Part(cls, part.given)


def lacks(cls: Any) -> str:
    """A sentence on the abstract methods of a class, such as a base; empty for classes that can be built."""
    names = ", ".join(sorted(cls.__abstractmethods__)) if inspect.isabstract(cls) else ""
    return names and f"{cls.__name__} lacks {names}: name a class derived from it"


def no_group(name: str, value: Any) -> str:
    """A sentence on a value that stands where a group of settings is wanted."""
    said = "null" if value in (None, "null") else repr(value)
    return f"{name} is {said}, but is a group of settings: set each by its name, such as --{name}.NAME VALUE"


def _returns(function: Any, base: type) -> bool:
    """True for a callable that says to return a `base`."""
    try:
        returned = inspect.signature(function, eval_str=True).return_annotation
    except (TypeError, ValueError, NameError):
        return False
    return inspect.isclass(returned) and issubclass(returned, base)


def _failed(path: str, error: BaseException) -> str:
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    where = f" ({own[-1].filename}, line {own[-1].lineno})" if own[1:] else ""
    return f"importing {path!r} fails with {type(error).__name__}: {error}{where}"
