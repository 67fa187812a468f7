"""Defaults of today for settings that an older configuration does not have yet."""

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from commands.arguments import flatten
from commands.errors import class_parser
from commands.setting_types import Part, find_class


def completed(then: Mapping[str, Any], now: Mapping[str, Any], parser: ArgumentParser) -> dict[str, Any]:
    """An older flat configuration, with the defaults of settings that the program did not have then.

    Args:
        then: the older one; it may have been written before a setting existed.
        now: that of the command, which has all settings of its classes.
        parser: of `fit`.
    """
    found = {}
    for name in now.keys() - then.keys():
        parts = name.split(".")
        owners = (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
        owner = next((owner for owner in owners if f"{owner}.class_path" in now and f"{owner}.class_path" != name), "")
        known = _of_class(now[f"{owner}.class_path"]) if owner else _plain(parser)
        own = name.removeprefix(f"{owner}." if owner else "")
        key = next((key for key in (own, own.removesuffix(".class_path")) if key in known), None)
        if key is not None:
            found[name] = known[key]
    return {**found, **{name: _with_defaults(value, now.get(name)) for name, value in then.items()}}


def _with_defaults(then: Any, now: Any) -> Any:
    """A list of classes, such as callbacks, with defaults for what they lack beside the same classes of today."""
    if not isinstance(then, list) or not isinstance(now, list) or len(then) != len(now):
        return then
    made = []
    for old, new in zip(then, now, strict=True):
        same = isinstance(old, dict) and isinstance(new, dict) and old.get("class_path") == new.get("class_path")
        given = (old.get("init_args") or {}) if same else {}
        known = _of_class(old["class_path"]) if given and "class_path" in old else {}
        lacking = (new.get("init_args") or {}).keys() - given.keys() if given else ()
        more = {name: known[name] for name in lacking if name in known}
        made.append({**old, "init_args": {**more, **given}} if more else old)
    return made


@cache
def _of_class(path: str) -> dict[str, Any]:
    try:
        return _plain(class_parser(find_class(path, Part(object))))
    except LookupError:  # a function
        return {}


@cache
def _plain(parser: ArgumentParser) -> dict[str, Any]:
    """Defaults of a parser, flat, as config.yaml has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = parser.dump(parser.get_defaults(), skip_none=False, skip_validation=True)
    return flatten(yaml.safe_load(text), skip="init_args")
