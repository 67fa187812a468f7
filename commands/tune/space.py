"""Search space of `tune`: ranges and choices of settings, from a YAML file or by default from the configuration."""

import json
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import yaml

from commands.yaml_text import Dumper
from modules.contracts import ConfigError, regular, suggest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

KEYS = ("low", "high", "log", "step", "int")
GRID_POINTS = 3
"""Values that a grid takes of a range without `step`."""


class Dimension(NamedTuple):
    """Values of one setting: a range, or choices.

    Args:
        low: lowest value of a range.
        high: highest value of a range.
        log: whether a range is sampled by its logarithm.
        step: distance of the values of a range; null for any value, 1 for whole numbers.
        whole: whether the values are whole numbers.
        choices: plain values; lists and maps as JSON text. Empty for a range.
    """

    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    whole: bool = False
    choices: tuple[Any, ...] = ()

    def distribution(self) -> "BaseDistribution":
        """The same for Optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def sweep(self) -> dict[str, Any]:
        """The same for a sweep of W&B."""
        if self.choices:
            return {"distribution": "categorical", "values": list(self.choices)}
        log, kind = "log_" * self.log, "" if self.step is None or (self.whole and self.step == 1) else "q_"
        name = f"{kind}{log}uniform{'_values' * self.log}"
        if self.whole and not kind:
            name, kind = ("q_log_uniform_values", "q_") if self.log else ("int_uniform", "")
        quantum = {"q": self.step or 1} if kind else {}
        return {"distribution": name, "min": self.low, "max": self.high} | quantum

    def plain(self) -> dict[str, Any] | list[Any]:
        """The same as a space file has it."""
        if self.choices:
            return list(map(_parsed, self.choices))
        rest = {"log": self.log or None, "step": self.step, "int": self.whole or None}
        return {"low": self.low, "high": self.high} | {k: v for k, v in rest.items() if v is not None}

    def points(self) -> list[Any]:
        """Values of a grid: all choices, all steps of a range, or `GRID_POINTS` from its low to its high end."""
        if self.choices:
            return list(self.choices)
        if self.step and not self.log:
            found = self.low + self.step * np.arange(int((self.high - self.low) / self.step + 1e-9) + 1)
        else:
            found = (np.geomspace if self.log else np.linspace)(self.low, self.high, GRID_POINTS)
        return list(dict.fromkeys(round(x) if self.whole else float(f"{x:.6g}") for x in found.tolist()))

    def holds(self, value: Any) -> bool:
        """True for a value within the range, or among the choices."""
        if self.choices:
            return any(type(c) is type(value) and c == value for c in self.choices)
        if not isinstance(value, int | float) or isinstance(value, bool) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else value if self.whole else 0
        return abs(steps - round(steps)) < 1e-9


Space = dict[str, Dimension]


def read_space(path: str) -> Space:
    """The space of a YAML file: setting -> `{low, high, log, step, int}` or a list of values.

    Raises:
        ConfigError: it is missing, empty or no such map, or one of its ranges is wrong; names the setting.
    """
    try:
        found = yaml.safe_load(regular(Path(path).expanduser()).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--space {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"--space {path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or not found:
        raise ConfigError(f"--space {path} is {found!r}, but must map settings to ranges, such as {EXAMPLE}")
    names = {str(name).replace(".init_args.", ".").removesuffix(".class_path"): name for name in found}
    return {name: dimension(f"{path}: {name}", found[key]) for name, key in names.items()}


EXAMPLE = "model.optim.lr: {low: 0.0001, high: 0.01, log: true}"


def dimension(name: str, given: Any) -> Dimension:
    """The range or the choices of one setting.

    Args:
        name: of the setting, for messages.
        given: `{low, high, log, step, int}`, or a list of values.

    Raises:
        ConfigError: it is neither, or empty.
    """
    if isinstance(given, list):
        choices = tuple(dict.fromkeys(map(encoded, given)))
        if len(choices) < 2 or len(choices) < len(given):
            what = "is named twice" if choices and len(choices) < len(given) else "is one value at most"
            raise ConfigError(f"{name} is {given}, but this {what}: list two or more different values")
        return Dimension(choices=choices)
    if isinstance(given, dict) and given and not given.keys() & set(KEYS):
        whole = name
        while isinstance(given, dict) and given and not given.keys() & set(KEYS):
            key, given = next(iter(given.items()))
            whole += "" if key == "init_args" else f".{key}"
        raise ConfigError(f"{name} is nested, but a space has whole names: write {whole.rpartition(' ')[2]}: {given}")
    if not isinstance(given, dict) or not {"low", "high"} <= given.keys():
        raise ConfigError(f"{name} is {given!r}, but must be a list of values or a range such as {EXAMPLE[16:]}")
    for key in given.keys() - set(KEYS):
        raise ConfigError(f"{name} has {key!r}, but a range has {', '.join(KEYS)}{suggest(str(key), list(KEYS))}")
    low, high = (_number(name, key, given[key]) for key in ("low", "high"))
    step = None if given.get("step") is None else _number(name, "step", given["step"])
    log, whole = (_flag(name, key, given.get(key, False)) for key in ("log", "int"))
    if not low < high:
        raise ConfigError(f"{name} is an empty range: low {low:g} is not below high {high:g}")
    if log and low <= 0:
        raise ConfigError(f"{name} has low {low:g}, but a range with `log: true` lies above 0")
    if log and step is not None:
        raise ConfigError(f"{name} has both log and step: leave one out")
    if step is not None and not 0 < step <= high - low:
        raise ConfigError(f"{name} has step {step:g}, but it must be above 0 and fit between {low:g} and {high:g}")
    if whole and any(x is not None and x != int(x) for x in (low, high, step)):
        raise ConfigError(f"{name} has `int: true`, but low {low:g}, high {high:g} or step is no whole number")
    if step is not None:
        high = float(f"{low + step * int((high - low) / step + 1e-9):.12g}")  # the last step, as Optuna would
    if whole:
        return Dimension(int(low), int(high), log, None if step is None else int(step), True)
    return Dimension(low, high, log, step)


def _number(name: str, key: str, value: Any) -> float:
    try:
        number = float(value)  # YAML reads 1e-4 as text
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or not np.isfinite(number):
        raise ConfigError(f"{name} has {key} {value!r}, but it must be a number")
    return number


def _flag(name: str, key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name} has {key} {value!r}, but it must be true or false")
    return value


def encoded(value: Any) -> Any:
    """A choice as Optuna stores it: plain values as they are, also numbers that YAML reads as text, others as JSON."""
    if isinstance(value, list | dict):
        return json.dumps(value)
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _parsed(choice: Any) -> Any:
    return json.loads(choice) if isinstance(choice, str) and choice[:1] in ("[", "{") else choice


def typed(name: str, value: Any) -> str:
    """An option of `fit` that sets a value."""
    plain = value is None or isinstance(value, bool)
    return f"--{name}={json.dumps(value) if plain else value}"


def probes(space: Space) -> Iterator[list[str]]:
    """Options that together hold every bound and every choice, for the parser to judge."""
    values = {name: d.choices or (d.low, d.high) for name, d in space.items()}
    for row in range(max(map(len, values.values()), default=0)):
        yield [typed(name, each[min(row, len(each) - 1)]) for name, each in values.items()]


def grid(space: Space) -> list[dict[str, Any]]:
    """All combinations of the points of all settings."""
    return [dict(zip(space, values, strict=True)) for values in product(*(d.points() for d in space.values()))]


def print_space(space: Space) -> str:
    """The text of a space file."""
    plain = {name: dimension.plain() for name, dimension in space.items()}
    return yaml.dump(plain, Dumper=Dumper, default_flow_style=None, sort_keys=False, width=120)


def default_space(settings: Mapping[str, Any], typed: set[str], comparable: bool) -> Space:
    """Learning rates, weight decay, augmentation and batch size around the values of a configuration.

    Args:
        settings: flat, without `init_args` in their names.
        typed: names of settings that the user typed, which hold for every trial.
        comparable: whether the metric means the same with other augmentation and batch size; the loss of a
            pretraining does not.
    """
    space: Space = {}
    in_tokens = bool(settings.get("data.batch_tokens"))  # in place of a number of sentences
    for name, value in settings.items():
        section, _, last = name.partition(".")[0], "", name.rpartition(".")[2]
        optimizer = section == "model" and name.count(".") == 2 and name.split(".")[1].endswith("optim")
        if optimizer and last == "lr":
            space[name] = _around(value or 0.001, 10)
        elif optimizer and last == "weight_decay" and value and name.startswith("model.optim."):
            space[name] = _around(value, 10)
        elif comparable and name == "data.augment" and value in ("flip", "simclr", "strong", "moco_v1"):
            space[name] = Dimension(choices=tuple(dict.fromkeys(("none", "flip", "strong", value))))
        elif comparable and value and name == ("data.batch_tokens" if in_tokens else "data.batch_size"):
            space[name] = Dimension(choices=tuple(dict.fromkeys((max(1, value // 2), value, 2 * value))))
    return {name: each for name, each in space.items() if name not in typed}


def _around(value: float, factor: float) -> Dimension:
    return Dimension(float(f"{value / factor:.3g}"), float(f"{value * factor:.3g}"), log=True)
