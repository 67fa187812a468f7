"""YAML: text that is read back as text, and files of settings with their mistakes by file and line."""

import re
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from commands.arguments import find_config, is_yaml_text, parse_known
from modules.contracts import ConfigError, regular


class Dumper(yaml.SafeDumper):
    """Writes plain values; quotes text that a reader of YAML 1.1 or 1.2 would take for a number, such as 1e3."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",  # wider than PyYAML's own, as command lines read it: exponents without sign or point
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+|[0-9][0-9_]*\.[0-9_]*|\.[0-9_]+(?:[eE][-+]?[0-9]+)?)$"
    ),
    list("-+0123456789."),
)


Dumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_str(member.name))  # jsonargparse reads names


def dump_yaml(data: Any) -> str:
    """Plain values as block-style YAML, keys in their order."""
    return yaml.dump(data, Dumper=Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)


def check_yaml(argv: list[str]) -> None:
    """Refuse YAML that the parser would not take, or take otherwise than it is meant.

    Raises:
        ConfigError: names the file and line; see `settings_in`.
    """
    configs = parse_known(argv).config
    for config in configs:
        settings_in(config, f"--config {config[:30]}") if is_yaml_text(config) else read_settings(find_config(config))
    for word in argv:
        value = word.partition("=")[2] if word.startswith("--") else word
        if value in configs:
            continue
        if value.endswith((".yaml", ".yml")) and Path(value).exists() and not Path(value).is_dir():
            _nodes(_decoded(Path(value)), value)
        elif value.lstrip()[:1] in ("{", "["):
            _nodes(value, value[:60], strict=False)


def read_settings(path: Path | str, refused: type[Exception] = ConfigError) -> dict[str, Any]:
    """The settings in a YAML file.

    Raises:
        ConfigError: the file cannot be read, or as `settings_in`; or the exception `refused`.
    """
    try:
        return settings_in(_decoded(Path(path)), str(path))
    except ConfigError as error:
        raise refused(str(error)) from error


def settings_in(text: str, name: str) -> dict[str, Any]:
    """The settings in YAML.

    Args:
        text: the YAML.
        name: of its file, for messages.

    Raises:
        ConfigError: it is not YAML, has a key twice, holds itself, or is no mapping.
    """
    root = _nodes(text, name)
    if root is None or root.tag.endswith(":null"):
        raise ConfigError(f"{name} is empty: write settings such as `trainer: {{max_epochs: 10}}`, or leave it out")
    if not isinstance(root, yaml.MappingNode):
        kind = "a list" if isinstance(root, yaml.SequenceNode) else f"the text {root.value[:30]!r}"
        raise ConfigError(f"{name} is {kind}, but settings are a mapping such as `trainer: {{max_epochs: 10}}`")
    for key, _ in root.value:
        if key.tag.endswith((":int", ":float", ":bool", ":null")):
            raise ConfigError(
                f"{name}, line {key.start_mark.line + 1}: there is no setting {key.value!r}: keys are names"
            )
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(_said(error, name)) from error


def _decoded(path: Path) -> str:
    from datamodules.text_files import unicode_of  # with the classes of all data modules, which takes seconds

    try:
        data = regular(path).read_bytes()
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder, but settings are a YAML file: name another, or move it away") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    encoding = unicode_of(data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None or encoding != "utf-8-sig":
        said = "not UTF-8" if encoding == "utf-8-sig" else encoding.upper()
        raise ConfigError(f"{path} is {said}: save it as UTF-8")
    return text


def _nodes(text: str, name: str, strict: bool = True) -> yaml.Node | None:
    """The tree of YAML, checked for keys that stand twice and for nodes within themselves; null for nothing.

    Args:
        text: the YAML.
        name: of its file, for messages.
        strict: text that is no YAML is refused.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _check_nodes(root, name, set(), set())
    except yaml.YAMLError as error:
        if strict:
            raise ConfigError(_said(error, name)) from error
        return None
    except RecursionError:
        raise ConfigError(f"{name} is nested too deeply: no setting is") from None
    return root


def _check_nodes(node: yaml.Node | None, name: str, around: set[int], done: set[int]) -> None:
    if not isinstance(node, yaml.CollectionNode) or id(node) in done:
        return
    line = node.start_mark.line + 1
    if id(node) in around:
        raise ConfigError(f"{name}, line {line}: what begins here holds itself by an alias (*): write it out")
    inside, seen = node.value, {}
    if isinstance(node, yaml.MappingNode):
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<" and seen.setdefault(key.value, key) is not key:
                first, again = seen[key.value].start_mark.line + 1, key.start_mark.line + 1
                raise ConfigError(
                    f"{name}, line {again}: {key.value} stands twice, first in line {first}, and only one would count: "
                    f"join them, or delete one"
                )
        inside = [part for pair in node.value for part in pair]
    for part in inside:
        _check_nodes(part, name, around | {id(node)}, done)
    done.add(id(node))


def _said(error: Exception, name: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    where = f", line {mark.line + 1}" if mark else ""
    return (
        f"{name}{where} is not YAML: {' '.join(reason.split())}; mend it (tabs do not indent, text with `: ` is quoted)"
    )
