"""Settings that a command line gives, one by one: typed options, and what YAML texts and files hold."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from commands.arguments import is_yaml_text, parse_known, read_yaml, without

MISSING = "--"  # for the value of an option that the next one follows, or nothing


class Setting(NamedTuple):
    """One setting as a command or a YAML gives it.

    Args:
        name: with its section, such as `model.head.dropout`.
        value: text as typed, or what a YAML holds.
        typed: true if it was typed.
        of_class: true if the value stands as `class_path`, so that no other text will do.
    """

    name: str
    value: Any
    typed: bool = False
    of_class: bool = False


def given_settings(words: Sequence[str]) -> Iterator[Setting]:
    """Settings of the arguments in their order, those of YAMLs where these are named; classes by name or path."""
    words = list(words)
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        follows = words[i + 1] if words[i + 1 : i + 2] and not words[i + 1].startswith("--") else MISSING
        if not name.startswith("-") or (name.endswith(".help") and follows == MISSING and not equals):
            continue
        name, value = name.lstrip("-").removesuffix("+"), value if equals else follows
        if name in ("config", "c"):
            yield from _flat("", read_yaml(value))
        else:
            of_class = name.endswith(".class_path")
            name = name.replace(".init_args.", ".").removesuffix(".class_path").removesuffix(".help")
            tree = read_yaml(value) if value.endswith((".yaml", ".yml")) or value.lstrip()[:1] in ("{", "[") else None
            nested = isinstance(tree, dict) or _of_classes(tree)
            yield from _flat(name, tree, typed=True) if nested else [Setting(name, value, True, of_class)]


def _of_classes(tree: Any) -> bool:
    return isinstance(tree, list) and any(isinstance(each, dict) and "class_path" in each for each in tree)


def _flat(name: str, tree: Any, typed: bool = False) -> Iterator[Setting]:
    """Settings of a tree below `name`: a class first, then what it is given."""
    if _of_classes(tree):
        for each in tree:
            yield from _flat(name, each, typed)
    elif not isinstance(tree, dict) or (name and not tree):
        yield Setting(name, tree, typed)
    else:
        if "class_path" in tree:
            yield Setting(name, tree["class_path"], typed, of_class=True)
        given = {} if tree.get("init_args") is None else tree["init_args"]
        if not isinstance(given, dict):
            yield Setting(f"{name}.init_args", given, typed)
            return
        inside = {**tree, **given}
        for key, value in inside.items():
            if key not in ("class_path", "init_args"):
                yield from _flat(f"{name}.{key}".removeprefix("."), value, typed)


def typed_names(words: Sequence[str]) -> set[str]:
    """Names of the settings that are typed, also within YAML text; those in YAML files of --config are not.

    Args:
        words: arguments, with or without the command.
    """
    texts = [f"--config={config}" for config in parse_known(list(words)).config if is_yaml_text(config)]
    return {setting.name for setting in given_settings([*without(list(words), "--config", "-c"), *texts])}
