"""`python cli.py backbones [PATTERN]`: which backbones there are, how large, how dear, and what one is good for."""

import argparse
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NoReturn

from PIL import Image

from modules.backbones import by_name, names
from modules.contracts import ConfigError, nearest, writing
from zoo.facts import Facts, has_weights, origin
from zoo.receptive import receptive_fields

SHOWN = 3  # names of a family


class Parser(argparse.ArgumentParser):
    """The command's own options; errors become one sentence."""

    def __init__(self) -> None:
        super().__init__(
            "python cli.py backbones",
            "python cli.py backbones [PATTERN] | NAME --describe [--out FOLDER]",
            "Without PATTERN: the families. With it: size, cost and maps of all backbones whose name it fits. Every "
            "name is a --model.backbone.",
            allow_abbrev=False,
        )
        self.add_argument(
            "pattern", nargs="?", help="part of a name, or one with * and ?, such as 'resnet*' or 'torchvision/*'"
        )
        self.add_argument(
            "--describe",
            action="store_true",
            help="of one NAME: its tasks and options, and the pyramid with the receptive field of each map as a PNG",
        )
        self.add_argument("--out", type=Path, default=Path(), help="where the PNG goes; default here")

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"backbones: {message}")


def backbones(argv: list[str]) -> None:
    """Prints what the arguments after `backbones` ask for.

    Raises:
        ConfigError: a name or pattern that fits nothing.
        DataError: the folder cannot be written to.
    """
    typed = Parser().parse_args(argv)
    if typed.describe:
        if typed.pattern is None:
            raise ConfigError("backbones: --describe needs the NAME of a backbone")
        if typed.pattern not in names():
            raise ConfigError(f"there is no backbone {typed.pattern!r}{nearest(typed.pattern, names())}")
        lines = describe(typed.pattern, typed.out)
    else:
        lines = families() if typed.pattern is None else listing(matching(typed.pattern))
    for line in lines:
        print(line, flush=True)  # one by one, because each takes a moment


def matching(pattern: str) -> list[str]:
    """The names that contain `pattern`, or fit it if it has a wildcard.

    Raises:
        ConfigError: none does.
    """
    wild = pattern if set(pattern) & set("*?[") else f"*{pattern}*"
    if found := [name for name in names() if fnmatch(name, wild)]:
        return found
    raise ConfigError(f"no backbone fits {pattern!r}{nearest(pattern.strip('*?'), names())}")


def families() -> Iterator[str]:
    """A line for each family: how many backbones, for how many there are weights, and the shortest names."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in names():
        groups.setdefault(origin(name), []).append(name)
    yield f"{'library':13}{'family':29}{'backbones':>9}{'with weights':>14}  such as"
    for (library, family), members in sorted(groups.items()):
        some = ", ".join(sorted(members, key=lambda name: (len(name), name))[:SHOWN])
        yield f"{library:13}{family:29}{len(members):9}{sum(map(has_weights, members)):14}  {some}"
    yield f"{len(names())} backbones in {len(groups)} families"
    yield "sizes and maps: python cli.py backbones PATTERN, such as 'resnet*'"


def listing(found: list[str]) -> Iterator[str]:
    """A line for each of the names, after a heading."""
    wide = max(map(len, found)) + 2
    yield f"{'name':{wide}}{'library':13}{'M param.':>9}{'GMACs':>8}{'at':>6}  {'strides':18}{'channels':28}weights"
    for name in found:
        facts = Facts(name)
        strides, channels = (" ".join(map(str, values)) for values in reversed(facts.backbone.features))
        numbers = f"{facts.parameters / 1e6:9.2f}{facts.macs / 1e9:8.2f}{facts.sides[0]:6d}"
        weights = "pretrained" if has_weights(name) else "none"
        yield f"{name:{wide}}{origin(name)[0]:13}{numbers}  {strides:18}{channels:28}{weights}"
    yield "M param.: millions of parameters that the maps depend on; GMACs: of a picture (16 frames) of side `at`"


def describe(name: str, folder: Path) -> Iterator[str]:
    """Everything that is known of one backbone, line by line; draws its pyramid into `folder`."""
    from zoo.drawing import pyramid  # matplotlib takes a moment

    facts = Facts(name)
    strides, channels = facts.backbone.features.strides, facts.backbone.features.channels
    library, family = origin(name)
    high, wide = facts.sides
    yield f"{name}: {library}, family {family}, {'with' if has_weights(name) else 'no'} pretrained weights"
    cost = f"{facts.macs / 1e9:.2f} GMACs at {high} x {wide}"
    yield f"  {facts.parameters / 1e6:.2f} M parameters that the maps depend on, {cost}"
    yield f"  strides {strides}, channels {channels}"
    yield from (f"  fits {line}" for line in facts.tasks())
    yield f"  takes {', '.join(facts.options) or 'none of small_images, drop_path and output_stride'}"
    if facts.backbone.temporal:
        return
    fields = receptive_fields(by_name(name), max(facts.sides) if facts.fixed else facts.smallest, facts.fixed)
    seen = ", ".join("everything" if field is None else f"{field}" for field in fields)
    yield f"  one cell of each map sees, in pixels: {seen}"
    path = folder / f"{name.replace('/', '_')}.png"
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pyramid(name, high, channels, strides, fields)).save(path)
    yield f"written: {path}"
