"""Roles of the settings of data modules, by which a checkpoint hands them on to other commands."""

import inspect
from typing import Any, Literal

Role = Literal["input", "loading", "location", "samples", "training"]
"""Role of a setting.

- `input`: preprocessing and the meaning of answers, such as size, classes, vocabulary: of any data.
- `loading`: speed and memory, such as batch size and workers; changes no answer.
- `location`: the data set, such as its folder; typed anew, it is about other data.
- `samples`: the samples and splits of one data set, such as folds and the validation share.
- `training`: nothing outside of training, such as few labels and augmentation.
"""


def roles_of(data: type) -> dict[str, Role]:
    """Roles of the settings of a data module: `roles` of the class and its bases; undeclared ones are `samples`."""
    declared: dict[str, Role] = {}
    for part in reversed(data.__mro__):
        declared |= vars(part).get("roles", {})
    return {name: declared.get(name, "samples") for name in arguments_of(data)}


def arguments_of(data: type) -> dict[str, inspect.Parameter]:
    """Arguments that the construction of a class takes, those handed to its bases by **kwargs included.

    Those in the attribute `fixed` of a class are left out: it gives them to its bases by itself.
    """
    found: dict[str, inspect.Parameter] = {}
    fixed: set[str] = set()
    for part in data.__mro__:
        if "__init__" not in vars(part):
            continue
        own = inspect.signature(part.__init__).parameters
        named = {n: p for n, p in own.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and n != "self"}
        found = {name: p for name, p in named.items() if name not in fixed} | found
        fixed |= vars(part).get("fixed", set())
        if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            break
    return found


def default(data: type, name: str) -> Any:
    """Default of an argument of a data module."""
    return arguments_of(data)[name].default
