"""Arguments of `tune`."""

import re
from pathlib import Path
from typing import NamedTuple

from callbacks.run_directory import typed_path
from commands.arguments import run_name
from commands.overview import program
from commands.own_options import OwnOptions
from commands.tune.space import EXAMPLE
from modules.contracts import ConfigError

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SHORTEST = 10
"""Seconds below which no process starts and trains."""


class Plan(NamedTuple):
    """A search.

    Args:
        space: file of the space; null for the default of the configuration.
        trials: number of them in all, the shipped default included; null for a whole grid.
        budget: seconds of training in all, of all processes; null for no limit.
        sampler: `tpe`, `random` or `grid`.
        seeds: fresh seeds that the best trial and the default are trained again with.
        shown: what to print in place of a search: `space`, `wandb` or nothing.
        folder: run directory of the study.
        typed: the arguments of fit that all trials share.
        steps: walk six steps, of which the search is two.
        fresh: the folder has a name from the time; where another process was quicker, the next one is taken.
        command: as typed.
    """

    space: str | None
    trials: int | None
    budget: float | None
    sampler: str
    seeds: int
    shown: str
    folder: Path
    typed: list[str]
    steps: bool = False
    fresh: bool = False
    command: str = ""


class Parser(OwnOptions):
    """tune's own options."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} tune",
            f"{program()} tune --config tasks/TASK.yaml [--space FILE] [--trials N] [--budget 30m] [...]",
            "Hyperparameter search with Optuna: trial 0 is the configuration as it is, every trial a `fit` of its own; "
            "writes a table of trials, best.yaml, which fit takes as --config, and figures.",
            f"All options of `fit` work too and hold for every trial ({program()} fit --help), except --ckpt_path.",
        )
        self.add_argument(
            "--space",
            metavar="FILE",
            help=f"YAML of settings to search, each a range such as {EXAMPLE}, with step and int, or a list of values; "
            "default learning rate, weight decay, augmentation and batch size (--print_space)",
        )
        self.add_flag(
            "--steps",
            "walk six steps and say what each finds: initial loss, a few samples by heart, learning-rate range "
            "test, coarse search of --trials over 1 to 5 epochs, fine search of half as many over 10 to 20, learning "
            "curves",
        )
        self.add_flag("--print_space", "print the space as such a YAML, and end")
        self.add_flag("--wandb", "print the same search as a sweep of W&B, and end")
        self.add_argument("--trials", help="number of trials; default 20, for a grid all")
        self.add_argument(
            "--budget", help="time of training such as 45s, 30m, 2h or 1h30m, of all processes together; default none"
        )
        self.add_argument(
            "--sampler", default="tpe", help="tpe (tree-structured Parzen estimator), random or grid; default tpe"
        )
        self.add_argument(
            "--seeds",
            default="3",
            help="fresh seeds with which the best trial and the default are trained again, to tell whether it is "
            "better; 0 for none. Default %(default)s",
        )
        self.add_argument(
            "--run_dir",
            help="output folder; default runs/tune_NAME/TIME. An interrupted search resumes when given its folder, and "
            "several processes may work in it at once",
        )


def typed_plan(argv: list[str]) -> Plan:
    """Parse the arguments typed after `tune`.

    Raises:
        ConfigError: one is wrong, or an option that tune sets itself was typed.
    """
    own, typed = Parser().parse_known_args(argv)
    if any(word.partition("=")[0] == "--ckpt_path" for word in typed):
        raise ConfigError("tune sets --ckpt_path for each trial itself: leave it out and say --run_dir DIR to go on")
    if own.sampler not in ("tpe", "random", "grid"):
        raise ConfigError(f"--sampler is {own.sampler!r}, but must be 'tpe', 'random' or 'grid'")
    trials = None if own.trials is None and own.sampler == "grid" else _count("trials", own.trials or "20", 1)
    seeds = _count("seeds", own.seeds, 0)
    if seeds == 1:
        raise ConfigError("--seeds is 1, but a difference has an interval with 2 or more: or say 0 to leave it out")
    folder = typed_path(own.run_dir, f"tune_{run_name(typed)}")
    shown = "space" if own.print_space else "wandb" if own.wandb else ""
    fresh = own.run_dir is None
    return Plan(own.space, trials, budget(own.budget), own.sampler, seeds, shown, folder, typed, own.steps, fresh)


def budget(typed: str | None) -> float | None:
    """Seconds of a duration such as 45s, 30m, 2h or 1h30m; null for none.

    Raises:
        ConfigError: it is no duration, or too short for any process to start and train.
    """
    if typed is None:
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", typed)
    if not parts or "".join(map("".join, parts)) != typed:
        raise ConfigError(f"--budget is {typed!r}, but must be a time such as 45s, 30m, 2h or 1h30m")
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if seconds < SHORTEST:
        raise ConfigError(f"--budget is {typed}, which is too small for one trial: starting it takes as long")
    return seconds


def _count(name: str, typed: str, least: int) -> int:
    if not typed.isdecimal() or int(typed) < least:
        raise ConfigError(f"--{name} is {typed!r}, but must be a whole number, at least {least}")
    return int(typed)
