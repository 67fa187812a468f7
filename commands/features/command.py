"""`python cli.py features --ckpt_path RUN`: what the layers and channels of a network have learned."""

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import one_hot

from callbacks.collectors.chosen import evenly
from callbacks.figures.log import write_figure
from callbacks.run_directory import RunDirectory, claimed, new_path
from callbacks.terminal import print_line
from commands.evaluate.features import arrays
from commands.features import ascents, drawing, patches
from commands.features.ascents import Ascent
from commands.features.depth import levels
from commands.features.subject import Subject, generator_of
from commands.next_commands import command_line, typed_settings
from commands.overview import program
from commands.own_options import OwnOptions
from datamodules.images.unlabeled_images import split_title
from modules.contracts import ConfigError, DataError, check_range, writing
from modules.insight.layers import differentiable

INVERTED = 3  # images


class Options(OwnOptions):
    """The command's own options; the rest are settings of `test`."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} features",
            f"{program()} features --ckpt_path RUN [--layer NAME] [--channels 3,7] [--classes a,b]",
            "Shows what a network has learned: for channels of a layer the patches of the data that activate them most "
            "and the image that gradient ascent finds, the same for classes; what each level still knows of an image; "
            "and shallow against deep levels by linear probe, effective rank and receptive field.",
            f"Other options are settings of {program()} test, such as --data ImageFolder --data.root FOLDER.",
        )
        self.add_argument("--ckpt_path", help="a .ckpt file or a run directory")
        text = "name of a layer, such as layer3.0.conv2, or the number of a level; default the deepest level"
        self.add_argument("--layer", default="-1", help=text)
        text = "numbers with a comma, as 3,7 or 3, or how many of the most selective, as 6, the default"
        self.add_argument("--channels", default="6", help=text)
        self.add_argument("--classes", help="names or numbers, with commas; default the first eight; none for none")
        self.add_argument("--direction", help=".npy file with a number per channel of the layer: ascent on it too")
        self.add_argument("--generator", help="run of a GAN, whose noise is optimized in place of pixels")
        self.add_argument("--basis", choices=("fourier", "pixels"), default="fourier", help="default fourier")
        self.add_argument("--decorrelate", default="true", choices=("true", "false"), help="of colors; default true")
        self.add_argument("--steps", type=int, default=256, help="of gradient ascent; default 256")
        self.add_argument("--lr", type=float, default=0.05, help="learning rate of the ascent; default 0.05")
        self.add_argument("--jitter", type=int, default=4, help="largest random shift in pixels; default 4")
        self.add_argument("--blur", type=float, default=0.0, help="before the network, in pixels; default 0, off")
        self.add_argument("--variation", type=float, default=0.0, help="weight of the total variation; default 0")
        self.add_argument("--num_patches", type=int, default=7, help="patches of a channel; default 7")
        self.add_argument("--num_images", type=int, default=500, help="images of a split; default 500")
        self.add_argument("--run_dir", help="output folder; default runs/features/TIME")


def features(argv: list[str]) -> None:
    """Run the `features` command with the arguments after its name.

    Raises:
        ConfigError: a setting, or a layer, channel or class that does not exist.
        DataError: no checkpoint or no data.
    """
    own, typed = Options().parse_known_args(argv)
    if not own.ckpt_path:
        raise ConfigError("features needs weights: add --ckpt_path with a .ckpt file or a run directory")
    check_range("--num_patches", own.num_patches, 1)
    check_range("--num_images", own.num_images, 2)
    settings = Ascent(own.steps, own.lr, own.basis, own.decorrelate == "true", own.jitter, own.blur, own.variation)
    settings.check()
    subject = Subject(own.ckpt_path, typed, own.num_images)
    run = subject.layer(own.layer)
    found = patches.peaks(subject, run)
    channels = chosen(own.channels, found)
    names = subject.classes[:8] if own.classes is None else own.classes.split(",") if own.classes != "none" else []
    classes = [subject.class_index(name) for name in names]
    check_distinct("--classes", [subject.classes[label] for label in classes])
    settings.check_size(*subject.images.shape[-2:])
    direction = ascents.read_direction(own.direction, found.values.shape[1]) if own.direction else None
    generator = generator_of(own.generator, []) if own.generator else None
    folder, fresh = (Path(own.run_dir), False) if own.run_dir else (new_path("features"), True)
    with claimed(RunDirectory(folder, lambda: None, fresh=fresh)) as path:
        with differentiable(subject.task):
            work = Work(subject, own, settings, generator, path)
            work.channels(run, found, channels, direction)
            work.classes(classes)
            work.inversion()
            work.depth()
        work.finish()
        again = command_line("explain", "--ckpt_path", own.ckpt_path, *typed_settings(typed))
        print_line(f"next, why it answers so: {again}")


def chosen(typed: str, found: patches.Peaks) -> list[int]:
    """Channels by their numbers, or as many of the most selective ones as a single number says.

    Raises:
        ConfigError: no such channel.
        DataError: all are the same on all images.
    """
    width, parts = found.values.shape[1], [part.strip() for part in typed.removesuffix(",").split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ConfigError(f"--channels is {typed!r}, but must be numbers with a comma, as 3,7 or 3, or how many, as 6")
    numbers = [int(part) for part in parts]
    if "," not in typed:
        check_range("--channels", numbers[0], 1)
        if not (selected := patches.selective(found, numbers[0])):
            raise DataError(
                f"no channel of the layer tells the {len(found.values)} images apart: give others by --data, another "
                f"--layer, or channels by number, --channels 3,7"
            )
        return selected
    if wrong := [number for number in numbers if number >= width]:
        raise ConfigError(f"--channels has {wrong[0]}, but the layer has {width} channels: 0 to {width - 1}")
    check_distinct("--channels", numbers)
    return numbers


def check_distinct(option: str, names: Sequence[Any]) -> None:
    """Check that nothing is named twice.

    Raises:
        ConfigError: something is.
    """
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ConfigError(f"{option} names {twice[0]} twice: leave one out")


class Work:
    """Steps of the command: each prints a line and writes a figure; `finish` writes features.json."""

    def __init__(self, subject: Subject, own: Namespace, settings: Ascent, generator: Any, folder: Path):
        self.subject, self.own, self.settings, self.generator = subject, own, settings, generator
        self.folder, self.report, self.drawn = folder, {"layer": own.layer, "split": subject.split}, []
        self.layer, self.where = subject.said(own.layer), split_title(subject.data, subject.split)
        self.images = arrays(subject.images)
        self.how = "a generator's noise" if generator else f"{own.basis}, {own.steps} steps"
        name = type(subject.task).__name__
        print_line(f"{name}: {len(self.images):,} images of {self.where}, {self.images[0].shape[0]} pixels")

    def channels(self, run: Any, found: patches.Peaks, channels: list[int], direction: Any) -> None:
        """Patches and gradient ascent of channels, and of a direction."""
        subject, width = self.subject, found.values.shape[1]
        dead = int((found.values.std(0, correction=0) <= 1e-12).sum())
        top = patches.top_patches(subject, run, found, channels, self.own.num_patches)
        units = one_hot(torch.tensor(channels), width).float()
        names = [f"channel {channel}" for channel in channels]
        climbed = ascents.by_direction(subject, run, units, names, self.settings, self.generator)
        title = f"{self.layer}: gradient ascent ({self.how}), then patches of {self.where} that activate it most"
        self.draw("channels", drawing.channels(climbed, top, self.images, title))
        print_line(
            f"{self.layer}: {width} channels, {dead} dead on these images; shown: {', '.join(map(str, channels))}"
        )
        self.report["channels"] = {channel: [patch._asdict() for patch in one] for channel, one in top.items()}
        self.report["dead"] = dead
        if direction is not None:
            along = ascents.by_direction(subject, run, direction, [self.own.direction], self.settings, self.generator)
            self.draw("direction", drawing.classes(along, f"{self.layer}: gradient ascent on a direction"))
            print_line(f"direction {self.own.direction}: {along.captions[0]}")

    def classes(self, classes: list[int]) -> None:
        """Gradient ascent on classes by their indices."""
        if not classes:
            if self.own.classes is None:
                print_line(f"off: ascent on classes, because {type(self.subject.task).__name__} gives images no class")
            return
        climbed = ascents.by_class(self.subject, classes, self.settings, self.generator)
        self.draw("classes", drawing.classes(climbed, f"Gradient ascent on classes ({self.how}), and the answer"))
        for name, words in zip(climbed.names, climbed.captions, strict=True):
            print_line(f"ascent on {name}: {words}")
        self.report["classes"] = dict(zip(climbed.names, climbed.captions, strict=True))

    def inversion(self) -> None:
        """Images of each level alone."""
        places = evenly(len(self.images), INVERTED)
        found = ascents.invert(self.subject, self.subject.images[places], self.settings)
        how = f"{self.own.basis}, {self.own.steps} steps"
        title = f"What an image of {self.where} looks like from one level alone ({how})"
        self.draw("inversion", drawing.inversion([self.images[i] for i in places], found, title))
        errors = [one.error for one in found]
        rises = ", rising" if errors == sorted(errors) else ", not rising at every level"
        rises = rises if len(errors) > 1 else ""
        print_line(f"inversion: error by level {', '.join(f'{error:.3f}' for error in errors)}{rises}")
        self.report["inversion"] = [{"error": one.error, "missed": one.missed} for one in found]

    def depth(self) -> None:
        """Shallow against deep."""
        subject = self.subject
        found = levels(subject, self.own.num_images)
        chance = 1 / len(subject.task.classes) if subject.task.classes and found[0].probe is not None else None
        title = f"Shallow against deep, {len(self.images)} images of {self.where}"
        self.draw("depth", drawing.depth(found, max(subject.images.shape[-2:]), chance, title))
        for i, one in enumerate(found):
            probe = "" if one.probe is None else f", probe {one.probe:.1%}"
            rank = f"effective rank {one.rank:.1f} of {one.channels}"
            print_line(f"level {i}: {one.cells[0]} x {one.cells[1]} cells, {rank}, sees {one.field} pixels{probe}")
        self.report["levels"] = [one._asdict() for one in found]

    def draw(self, name: str, figure: np.ndarray) -> None:
        """Write a figure."""
        self.drawn.append(write_figure(figure, self.folder / "figures" / f"{name}.png").name)

    def finish(self) -> None:
        """Write features.json, and name all files."""
        path = self.folder / "features.json"
        with writing(path):
            path.write_text(json.dumps(self.report, indent=1), encoding="utf-8")
        print_line(f"written: {path}, figures/ ({', '.join(self.drawn)})")
