"""Command-line arguments before the full parse: options that decide about it, and names that follow from them."""

import argparse
import re
from pathlib import Path
from typing import Any

import yaml

from commands.overview import COMMANDS
from modules.contracts import regular

ROOT = Path(__file__).parents[1]  # holds `tasks/`
OTHERS = (
    "export",
    "compare",
    "tune",
    "advise",
    "report",
    "push",
    "check",
    "serve",
    "demo",
    "stylize",
    "dream",
    "backbones",
    "inspect",
    "attack",
    "features",
)
UNNAMED = "run"
"""Name of a run without a YAML or task to name it."""
TRAINER_COMMANDS = [name for name in COMMANDS if name not in OTHERS]  # methods of the trainer


def _or_null(word: str) -> str | None:
    return None if word == "null" else word


def _parser() -> argparse.ArgumentParser:
    """Parser that leaves an option without a value, as everything else, to the full parse."""
    return argparse.ArgumentParser(add_help=False, allow_abbrev=False)


_KNOWN = _parser()
_KNOWN.add_argument("-c", "--config", action="append", default=[], nargs="?", const="")
for _name in ("ckpt_path", "run_dir", "onnx"):
    _KNOWN.add_argument(f"--{_name}", nargs="?", type=_or_null)
for _name in ("model", "data"):
    _KNOWN.add_argument(f"--{_name}", f"--{_name}.class_path", dest=_name, nargs="?")
for _section, _name in (("model", "weights"), ("model", "head"), ("model", "backbone"), ("data", "root")):
    _names = (f"--{_section}.{_name}", f"--{_section}.init_args.{_name}")
    _KNOWN.add_argument(*_names, dest=_name, nargs="?", type=_or_null)


def parse_known(argv: list[str]) -> argparse.Namespace:
    """Options that must be known before the full parse, the last value of each as typed; null for those not typed.

    Attributes: `ckpt_path`, `run_dir`, `onnx`, `weights`, `head` and `backbone` (of the model), `root` (of the data),
    `model` and `data` (a class, a YAML file or YAML), and `config`, a list.
    """
    return _KNOWN.parse_known_args(argv)[0]


def without(argv: list[str], *names: str) -> list[str]:
    """The arguments without an option that has these names."""
    parser = _parser()
    parser.add_argument(*names, nargs="?")
    return parser.parse_known_args(argv)[1]


def typed_options(argv: list[str], name: str = "") -> dict[str, list[str]]:
    """Words of an option and of those below it, by name: `--data` is also `--data.root X` and `--data.root=X`.

    Of an option that is typed several times the last counts, in the place of the first; `--data.NAME+` adds up.

    Args:
        argv: the arguments.
        name: of the option; empty for all words.
    """
    found: dict[str, list[str]] = {}
    while argv:
        option = argv[0].partition("=")[0].replace(".init_args.", ".")
        end = next((i for i, word in enumerate(argv) if i and word.startswith("--")), len(argv))
        end = 1 if "=" in argv[0] else end
        if not name or option == name or option.startswith(f"{name}."):
            found[option] = [*(found.get(option, ()) if option.endswith("+") else ()), *argv[:end]]
        argv = argv[end:]
    return found


def once(argv: list[str]) -> list[str]:
    """The arguments without the earlier values of options that are typed several times."""
    return [word for words in typed_options(argv).values() for word in words]


LISTS = {"evaluate": ("--label_fractions", "--num_neighbors"), "explain": ("--method",)}
"""Options of several values, by command."""


def as_list(argv: list[str], name: str) -> list[str]:
    """An option of several values as a YAML list, so that `--label_fractions 0.01,0.1` or `1` can be typed."""
    parser = _parser()
    parser.add_argument(name, dest="value", nargs="?")
    known, rest = parser.parse_known_args(argv)
    return argv if known.value is None or known.value.startswith("[") else [*rest, name, f"[{known.value}]"]


def configs_first(argv: list[str], *more: str) -> list[str]:
    """The arguments with all --config in front, so that typed options win wherever they stand.

    Args:
        argv: as typed, the command first.
        more: further YAML, which wins over what was typed as --config.
    """
    configs = [*map(find_config, parse_known(argv).config), *more]
    command, *rest = without(argv, "--config", "-c")
    return [command, *(word for config in configs for word in ("--config", config)), *rest]


def is_yaml_text(config: str) -> bool:
    """True for a --config that is YAML itself, not the path of a file."""
    return bool(re.search(r"[{:\n]", config))


def find_config(typed: str) -> str:
    """The file of a --config: `tasks/NAME.yaml` is found from any folder, unless there is one of that name."""
    path = Path(typed)
    ours = path.parts[:1] == ("tasks",) and not path.is_file() and (ROOT / path).is_file()
    return str(ROOT / path) if ours else typed


def run_name(argv: list[str]) -> str:
    """Name of the run: that of its YAML file; for a run's own config.yaml, that run's name; else the task's."""
    files = [config for config in parse_known(argv).config if not is_yaml_text(config)]
    if not files:
        return (typed_class(argv, "model") or UNNAMED).lower()
    path = Path(files[-1])
    return path.resolve().parent.parent.name if path.name == "config.yaml" else path.stem


def typed_class(argv: list[str], section: str) -> str | None:
    """The class name of `model` or `data` as typed, or as the last YAML that has it says; null when none does."""
    known = parse_known(argv)
    typed = getattr(known, section)
    found = [read_yaml(find_config(config)) for config in known.config if typed is None]
    values = [typed, *(text.get(section) for text in found if isinstance(text, dict))]
    value = next((value for value in reversed(values) if value is not None), None)
    name = class_of(read_yaml(value) if isinstance(value, str) else value)[0]
    is_class = isinstance(name, str) and re.fullmatch(r"[\w.]+", name) and not name.endswith((".yaml", ".yml"))
    return name.rpartition(".")[2] if is_class else None


def read_yaml(typed: str) -> Any:
    """The content of a YAML file, or of YAML itself; null where it cannot be read, which the full parse reports."""
    try:
        try:
            text = regular(Path(typed)).read_text(encoding="utf-8")
        except OSError:  # no file
            text = typed
        return yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return None


def class_of(value: Any) -> tuple[str | None, set[str]]:
    """The class, and the names of its settings, in a value of `model` or `data`: a name, or `class_path` with more."""
    if isinstance(value, dict):
        return value.get("class_path"), set(value.get("init_args") or {})
    return (str(value) if value else None), set()


def normalized(argv: list[str]) -> list[str]:
    """The arguments as people type them, where agents of sweeps send `None` for null and hyphens in names."""
    words = [re.sub(r"(^|^--[\w.+-]+=)None$", r"\1null", word) for word in argv]
    return [re.sub(r"^--[\w.+-]+(?==|$)", lambda name: f"--{name[0][2:].replace('-', '_')}", word) for word in words]


def flatten(tree: dict[str, Any], prefix: str = "", skip: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} to {"a.b": 1}; keys called `skip` leave no trace in the names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = prefix.removesuffix(".") if key == skip else f"{prefix}{key}"
        flat |= flatten(value, f"{name}.", skip) if isinstance(value, dict) and value else {name: value}
    return flat
