"""Help of a class: `--model.help`, `--data.help` and, for the parts inside, such as `--model.head.help`."""

import inspect
import re
from typing import Any

import datamodules
import tasks
from commands.arguments import configs_first
from commands.errors import class_parser, default_part, given_settings, kind_of
from commands.overview import program
from commands.parser import Parser, show_values
from commands.setting_types import Part, offered, parts
from modules.contracts import ConfigError

BASES = {"model": tasks.Task, "data": datamodules.DataModule}
ASKED = re.compile(r"--((?:model|data)(?:\.\w+)*)\.help(?:=(.*))?")


def show_part_help(argv: list[str]) -> None:
    """Print the help of a class and exit, if the arguments ask for one.

    The class is that named behind the option, else that of the command line, of the YAML or the default.

    Raises:
        SystemExit: after the help.
        ConfigError: there is no such part, or its class is not known.
    """
    at = next((i for i, word in enumerate(argv) if ASKED.fullmatch(word)), None)
    if at is None:
        return
    name, named = ASKED.fullmatch(argv[at]).groups()
    behind = [] if named else [word for word in argv[at + 1 : at + 2] if not word.startswith("-")]
    others = [*argv[:at], *argv[at + 1 + len(behind) :]]
    name = name.replace(".init_args.", ".")
    given = {setting.name: setting.value for setting in given_settings(configs_first(others)[1:])}
    typed = named or "".join(behind)
    given |= {name: typed} if typed else {}
    part = _part(name, given)
    usage = f"{program()} {argv[0]} --{name} {part.base.__name__} [--{name}.SETTING VALUE ...]"
    parser = Parser(usage=usage, description=None, add_help=False)
    add = parser.add_class_arguments if inspect.isclass(part.base) else parser.add_function_arguments
    add(part.base, name, skip={part.given} if part.given else set(), fail_untyped=False)
    if not typed:  # the YAML's values are those of its own class
        show_values(parser, others)
    parser.print_help()
    raise SystemExit(0)


def _part(name: str, given: dict[str, Any]) -> Part:
    """The class of a setting such as `model.head`, by the values of all settings that are given."""
    prefix, _, rest = name.partition(".")
    kind, default = BASES[prefix], None
    while True:
        part = default_part(kind, given.get(prefix, default))
        if not isinstance(part, Part):
            raise ConfigError(_unnamed(prefix, kind, given.get(prefix)))
        if not rest:
            return part
        actions = {action.dest: action for action in class_parser(part)._actions if kind_of(action)}
        names = rest.split(".")
        dest = next((head for end in range(len(names), 0, -1) if (head := ".".join(names[:end])) in actions), None)
        if dest is None:
            raise ConfigError(f"{part.base.__name__} takes no class as {prefix}.{rest}: see --{prefix}.help")
        prefix, rest = f"{prefix}.{dest}", rest[len(dest) + 1 :]
        kind, default = kind_of(actions[dest]), actions[dest].default


def _unnamed(name: str, kind: Any, value: Any) -> str:
    """The sentence about a setting whose class is not known."""
    names = [cls.__name__ for part in parts(kind) for cls in offered(part.base)]
    if not names:
        return f"{name} takes no class, so it has no help of its own: see --{name.rpartition('.')[0]}.help"
    said = f"is {value!r}, no class" if value else "has no class"
    return f"{name} {said}: name one, such as --{name}.help {names[0]} ({', '.join(names)})"
