"""`python cli.py backbones [PATTERN]`: list backbones with size and cost, or describe one with the tasks it fits."""

import os
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from shutil import get_terminal_size

from PIL import Image

from callbacks.terminal import fill
from commands.backbones.facts import Facts, has_weights, origin
from commands.overview import program
from commands.own_options import OwnOptions
from modules.backbones import by_name, names
from modules.contracts import ConfigError, suggest, writing
from modules.insight.receptive import receptive_fields

SHOWN = 3  # names of a family


class Parser(OwnOptions):
    """The command's own options."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} backbones",
            f"{program()} backbones [PATTERN] | NAME --describe [--out FOLDER]",
            "Without PATTERN: the families. With it: size, cost and maps of all backbones whose name it fits. Every "
            "name is a --model.backbone.",
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


def backbones(argv: list[str]) -> None:
    """Run the `backbones` command with the arguments after its name.

    Raises:
        ConfigError: a name or pattern that fits nothing.
        DataError: the folder cannot be written to.
    """
    typed = Parser().parse_args(argv)
    if typed.describe:
        if typed.pattern is None:
            raise ConfigError("backbones: --describe needs the NAME of a backbone")
        if typed.pattern not in names():
            raise ConfigError(f"there is no backbone {typed.pattern!r}{suggest(typed.pattern, names())}")
        lines = map(fill, describe(typed.pattern, typed.out))
    else:
        lines = families() if typed.pattern is None else listing(matching(typed.pattern))
    try:
        for line in lines:
            print(line, flush=True)  # one by one, because each takes a moment
    except BrokenPipeError:  # `head` has seen enough; Python would complain once more on its way out
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def matching(pattern: str) -> list[str]:
    """The names that contain `pattern`, or fit it if it has a wildcard.

    Raises:
        ConfigError: none does.
    """
    wild = pattern if set(pattern) & set("*?[") else f"*{pattern}*"
    if found := [name for name in names() if fnmatch(name, wild)]:
        return found
    near = suggest(pattern.strip("*?"), names())
    raise ConfigError(f"no backbone fits {pattern!r}{near or f': {program()} backbones lists the families'}")


def families() -> Iterator[str]:
    """A line for each family: number of backbones, number of those with weights, and the shortest names."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in names():
        groups.setdefault(origin(name), []).append(name)
    room = get_terminal_size((120, 24)).columns
    yield f"{'library':12}{'family':27}{'names':>5}{'weights':>9}  such as"
    for (library, family), members in sorted(groups.items()):
        line = f"{library:12}{family:27}{len(members):5}{sum(map(has_weights, members)):9} "
        for name in sorted(members, key=lambda name: (len(name), name))[:SHOWN]:
            line += f" {name}" if len(line) + len(name) < room else ""
        yield line
    yield f"{len(names())} backbones in {len(groups)} families"
    yield fill(f"sizes and maps: {program()} backbones PATTERN, such as 'resnet*'")


def listing(found: list[str]) -> Iterator[str]:
    """A line for each of the names, after a heading."""
    wide = max(map(len, found)) + 1
    yield f"{'name':{wide}}{'library':11}{'M param.':>9}{'GMACs':>8}{'at':>5}  {'weights':9}{'strides':15}channels"
    for name in found:
        facts = Facts(name)
        strides, channels = (" ".join(map(str, values)) for values in reversed(facts.backbone.features))
        numbers = f"{short(facts.parameters / 1e6):>9}{giga(facts.macs):>8}{facts.sides[0]:5d}"
        weights = "yes" if has_weights(name) else "no"
        yield f"{name:{wide}}{origin(name)[0]:11}{numbers}  {weights:9}{strides:15}{channels}"
    yield fill("M param.: millions of parameters that the maps depend on; GMACs: of an image (16 frames) of side `at`")


def trained_behind(sizes: dict[str, int]) -> str:
    """The parameters behind the last map in words; empty where there are none."""
    if not sizes:
        return ""
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in sizes))
    named = ", ".join(layers[:SHOWN]) + (f" and {len(layers) - SHOWN} more" if len(layers) > SHOWN else "")
    count = short(sum(sizes.values()) / 1e6)
    return f", behind {count} M more parameters, which tasks on maps alone leave untrained: {named}"


def short(value: float) -> str:
    """Two decimals; two significant digits below 0.1."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def giga(macs: int | None) -> str:
    """Multiply-adds in billions, `?` where unknown."""
    return "?" if macs is None else short(macs / 1e9)


def describe(name: str, folder: Path) -> Iterator[str]:
    """Everything that is known of one backbone, line by line; draws its pyramid into `folder`."""
    from commands.backbones.drawing import pyramid  # matplotlib takes a moment

    facts = Facts(name)
    strides, channels = facts.backbone.features.strides, facts.backbone.features.channels
    library, family = origin(name)
    high, wide = facts.sides
    yield f"{name}: {library}, family {family}, {'with' if has_weights(name) else 'no'} pretrained weights"
    cost = f"{giga(facts.macs)} GMACs at {high} x {wide}"
    yield f"  {short(facts.parameters / 1e6)} M parameters that the maps depend on, {cost}"
    yield f"  strides {strides}, channels {channels}"
    yield f"  pooled features of width {facts.backbone.features.pooled}{trained_behind(facts.behind)}"
    if facts.unreached:
        yield f"  kept but never trained, because no task uses them: {', '.join(facts.unreached)}"
    yield from (f"  fits {line}" for line in facts.tasks())
    yield f"  takes {', '.join(facts.options) or 'none of small_images, drop_path and output_stride'}"
    if facts.backbone.temporal or not facts.known:
        return
    fields = receptive_fields(by_name(name), max(facts.sides) if facts.fixed else facts.smallest, facts.fixed)
    seen = ", ".join("everything" if field is None else f"{field}" for field in fields)
    yield f"  one cell of each map sees, in pixels: {seen}"
    path = folder / f"{name.replace('/', '_')}.png"
    with writing(path, "--out"):
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pyramid(name, facts.sides, facts.cells, channels, strides, fields)).save(path)
    yield f"written: {path}"
