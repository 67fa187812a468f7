"""Axes of a comparison: `--vary SETTING=VALUE,...` and `--weights START,...`, and the variants of their grid."""

import re
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import yaml

from callbacks.results.variants import Variant
from commands.checkpoints import resolve_weights
from commands.early_checks import COMMON, SECTIONS, hint
from modules.contracts import ConfigError

WEIGHTS = "model.weights"
MOST = 40  # characters of a value in the name of a variant
LONGEST = 200  # bytes of a variant's name, of which file systems take 255


class Axis(NamedTuple):
    """One setting that varies.

    Args:
        setting: its name, such as `model.optim.lr`.
        values: label of each value, part of the name of a variant -> the value as typed; null for none.
    """

    setting: str
    values: dict[str, str | None]


def grid(axes: Sequence[Axis]) -> dict[str, Variant]:
    """Variants by name: every combination of the values of all axes, the last axis fastest.

    Weights are compared to the first of them (or `none`) with all else equal; without weights that differ, every
    variant is compared to the first.

    Raises:
        ConfigError: a name is too long for a folder.
    """
    names = [axis.setting for axis in axes]
    made = []
    for row in product(*(axis.values.items() for axis in axes)):
        labels = dict(zip(names, (label for label, _ in row), strict=True))
        made.append(Variant(dict(zip(names, (value for _, value in row), strict=True)), labels))
    starts = next((axis.values for axis in axes if axis.setting == WEIGHTS), {})
    base = {WEIGHTS: "none" if "none" in starts else next(iter(starts))} if len(starts) > 1 else None
    found = {}
    for variant in made:
        reference = made[0].name if base is None else variant._replace(labels=variant.labels | base).name
        found[variant.name] = variant._replace(reference=None if reference == variant.name else reference)
    if long := next((name for name in found if len(name.encode()) > LONGEST), None):
        raise ConfigError(f"a folder cannot be called {long}: vary fewer settings at once")
    return found


def read_vary(typed: Sequence[str]) -> list[Axis]:
    """Axes of all --vary.

    Args:
        typed: such as `model.optim.lr=0.1,0.01`; a value with commas is quoted or a YAML list.

    Raises:
        ConfigError: no setting of `fit`, one that compare sets itself, one that is named twice, or fewer than two
            values.
    """
    found: dict[str, list[str]] = {}
    for word in typed:
        name, equals, text = word.partition("=")
        name = plain_name(name)
        _check_setting(name, word if not equals or not name else "")
        if name in found:
            raise ConfigError(f"--vary names {name} twice: write all of its values behind one")
        found[name] = _several(name, text)
    parts = [name.split(".")[::-1] for name in found]
    shorts = distinct(parts, lambda part: ".".join(reversed(part)))
    return [
        Axis(name, dict(zip(_value_labels(short, values), values, strict=True)))
        for short, (name, values) in zip(shorts, found.items(), strict=True)
    ]


def read_weights(typed: str) -> Axis:
    """The axis of --weights.

    Raises:
        ConfigError: none is named, or one twice.
    """
    starts = [resolve_weights(word) for word in split_values("--weights", typed)]
    if not starts:
        raise ConfigError("--weights names nothing to start from: say --weights none,RUN,... (see compare --help)")
    if twice := [start for i, start in enumerate(starts) if start in starts[:i]]:
        raise ConfigError(f"--weights names {twice[0]} twice: every start is trained once per seed")
    values = (None if start == "none" else start for start in starts)
    return Axis(WEIGHTS, dict(zip(start_labels(starts), values, strict=True)))


def plain_name(option: str) -> str:
    """Name of a setting as typed in short: without dashes, `init_args` and `class_path`."""
    return option.lstrip("-").replace(".init_args.", ".").removesuffix(".class_path")


def split_values(option: str, text: str) -> list[str]:
    """Values between commas, as typed; quotes and brackets keep the commas inside of them.

    Raises:
        ConfigError: quotes or brackets do not fit.
    """
    text = f"[{text.strip().strip(',')}]"
    try:
        nodes = yaml.compose(text, yaml.BaseLoader).value
    except yaml.YAMLError as error:
        said = f"{option} {text[1:-1]} cannot be read as values between commas"
        raise ConfigError(f"{said}: put those with other signs in quotes") from error
    plain = (isinstance(node, yaml.ScalarNode) for node in nodes)
    sources = (text[node.start_mark.index : node.end_mark.index].strip() for node in nodes)
    return [node.value if is_plain else source for node, is_plain, source in zip(nodes, plain, sources, strict=True)]


def _check_setting(name: str, wrong: str) -> None:
    """Refuse names that are no setting of `fit`, as far as shows without a parser."""
    if wrong:
        raise ConfigError(f"--vary is {wrong!r}, but must be a setting and its values: --vary model.optim.lr=0.1,0.01")
    own = {"seed_everything": "--seeds", WEIGHTS: "--weights", "run_dir": "--run_dir", "ckpt_path": "--run_dir"}
    if name in own:
        raise ConfigError(f"--vary {name}: compare has an option for it, {own[name]}")
    settings = (*SECTIONS, *(name for name in COMMON if name not in ("config", "print_config", "help")))
    if name.partition(".")[0] not in settings:
        raise ConfigError(f"--vary {name}: there is no such setting{hint(name, settings)}")


def _several(name: str, text: str) -> list[str]:
    values = split_values(f"--vary {name}", text)
    if len(values) == 1 and values[0][:1] == "[":  # a list of the values
        values = split_values(f"--vary {name}", values[0][1:-1])
    if len(values) < 2:
        raise ConfigError(
            f"--vary {name}={text} has nothing to compare: name two values or more, or say --{name} VALUE"
        )
    if twice := [value for i, value in enumerate(values) if value in values[:i]]:
        raise ConfigError(f"--vary {name} names {twice[0]} twice")
    return values


def _value_labels(short: str, values: Sequence[str]) -> list[str]:
    """Unique labels such as `lr=0.1`, of letters, digits and signs that folders and commands take as they are."""
    made: list[str] = []
    for value in values:
        text = re.sub(r"[^\w.+-]+", "_", value).strip("_") or "empty"
        label = text = f"{short}={text[:MOST]}"
        number = 1
        while label in made:
            number += 1
            label = f"{text}+{number}"
        made.append(label)
    return made


def start_labels(starts: Sequence[str]) -> list[str]:
    """Short and unique names of initial weights: a run's configuration, and where two share one, also its time.

    runs/simclr/2026-07-01_10-00-00, runs/moco/2026-07-01_11-00-00 -> simclr, moco;
    runs/simclr/2026-07-01_10-00-00, runs/simclr/2026-07-02_10-00-00 -> simclr_2026-07-01_10-00-00, ...

    Raises:
        ConfigError: not even all folders above tell two apart.
    """
    made = distinct([_tags(start) for start in starts], "_".join)
    if twice := [name for i, name in enumerate(made) if name in made[:i]]:
        raise ConfigError(f"two of --weights would both be called {twice[0]}: rename one of their folders")
    return made


def distinct(parts: Sequence[Sequence[str]], join: Callable[[Sequence[str]], str]) -> list[str]:
    """Names of as few parts as tell them apart, most specific part first; equal only where all parts do not."""
    depths = [1] * len(parts)
    while True:
        made = [join(part[:depth]) for part, depth in zip(parts, depths, strict=True)]
        alike = [i for i, name in enumerate(made) if made.count(name) > 1 and depths[i] < len(parts[i])]
        if not alike:
            return made
        for i in alike:
            depths[i] += 1


def _tags(start: str) -> list[str]:
    """Parts of a start's path for its short name, most specific first: configuration, time, file, further folders."""
    path = run = Path(start).expanduser()
    file = path.suffix in (".ckpt", ".safetensors")
    if file:
        inside = 2 if path.parent.name == "checkpoints" else 1 if path.name == "backbone.safetensors" else 0
        run = path.parents[inside - 1] if inside else path.with_suffix("")
    names = [name for name in reversed(run.parts) if name != "/"]
    if re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(\+\d+)?", run.name):
        names[:2] = reversed(names[:2])
    return [*names[:2], *([path.stem] if file else []), *names[2:]]
