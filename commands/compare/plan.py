"""Arguments of `compare` and the runs that they ask for."""

import argparse
import os
import re
from pathlib import Path
from typing import NamedTuple, NoReturn

from callbacks.run_directory import new_path
from commands.arguments import run_name
from commands.checkpoints import resolve_weights
from commands.overview import program
from modules.contracts import ConfigError

OWN = ("--model.weights", "--model.init_args.weights", "--seed_everything", "--ckpt_path")  # compare sets them itself


class Plan(NamedTuple):
    """Runs of a comparison: every start with every seed.

    Args:
        starts: short name of each start -> value of --model.weights; null for random weights.
        seeds: of the runs of each start.
        folder: holds the run directories `<start>/seed<k>/` and the results of the comparison.
        typed: the arguments of fit that all runs share.
    """

    starts: dict[str, str | None]
    seeds: list[int]
    folder: Path
    typed: list[str]

    @property
    def begun(self) -> bool:
        """True if the folder holds a comparison, which is then continued."""
        return (self.folder / "compare.json").is_file()

    def run_folder(self, start: str, seed: int) -> Path:
        return self.folder / start / f"seed{seed}"

    def fit(self, start: str, seed: int) -> list[str]:
        """The arguments of one run."""
        own = {
            "--model.weights": self.starts[start] or "null",  # said, because a YAML may name weights too
            "--seed_everything": str(seed),
            "--run_dir": str(self.run_folder(start, seed)),
        }
        return ["fit", *self.typed, *(word for pair in own.items() for word in pair)]


class Parser(argparse.ArgumentParser):
    """compare's own options; errors become one sentence."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} compare",
            f"{program()} compare --config tasks/TASK.yaml --weights none,RUN,... [--seeds N] [--run_dir DIR] [...]",
            "Compares initializations: trains one task from several starts, with the same seeds for each, and writes a "
            "table, compare.json, compare.csv and figures/compare.png.",
            f"All options of `fit` work too and hold for every run ({program()} fit --help), except "
            f"{', '.join(name for name in OWN if 'init_args' not in name)}.",
            allow_abbrev=False,
        )
        self.add_argument(
            "--weights",
            metavar="START,...",
            help="initial weights of the backbone, separated by commas: `none` for random weights, `pretrained` for "
            "timm's, or a run directory, a .ckpt or a backbone.safetensors. Differences are taken to `none`, else to "
            "the first",
        )
        self.add_argument(
            "--seeds", default="3", help="number of seeds (3 means 0, 1 and 2), or a list: 0,5,9. Default %(default)s"
        )
        self.add_argument(
            "--run_dir",
            help="output folder; default runs/compare_NAME/TIME. An interrupted comparison resumes when given its "
            "folder: finished runs are not repeated, unfinished ones continue from their last checkpoint",
        )

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"compare: {message}")


def typed_plan(argv: list[str]) -> Plan:
    """Parse the arguments typed after `compare`.

    Raises:
        ConfigError: a start or seed is missing, wrong or named twice, or an option that compare sets itself was typed.
    """
    own, typed = Parser().parse_known_args(argv)
    for name in OWN:
        if any(word == name or word.startswith(f"{name}=") for word in typed):
            instead = {"--seed_everything": "--seeds", "--ckpt_path": "--run_dir DIR to go on"}.get(name, "--weights")
            raise ConfigError(f"compare sets {name} for each run itself: leave it out and say {instead}")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise ConfigError("compare starts processes itself: run it without torchrun, with --trainer.devices N")
    starts = [resolve_weights(word.strip()) for word in (own.weights or "").split(",") if word.strip()]
    if not starts:
        raise ConfigError("compare needs something to start from: add --weights none,RUN,... (see compare --help)")
    if twice := [start for i, start in enumerate(starts) if start in starts[:i]]:
        raise ConfigError(f"--weights names {twice[0]} twice: every start is trained once per seed")
    folder = Path(own.run_dir) if own.run_dir else new_path(f"compare_{run_name(typed)}")
    if folder.is_symlink():  # `latest` may point elsewhere tomorrow
        folder = folder.parent / folder.readlink()
    named = {name: None if start == "none" else start for name, start in zip(labels(starts), starts, strict=True)}
    return Plan(named, _seeds(own.seeds), folder, typed)


def labels(starts: list[str]) -> list[str]:
    """Short and unique names, fit for folders: a run's configuration, and where two share one, also its time.

    runs/simclr/2026-07-01_10-00-00, runs/moco/2026-07-01_11-00-00 -> simclr, moco;
    runs/simclr/2026-07-01_10-00-00, runs/simclr/2026-07-02_10-00-00 -> simclr_2026-07-01_10-00-00, ...

    Raises:
        ConfigError: not even all folders above tell two apart.
    """
    tags, depths = [_tags(start) for start in starts], [1] * len(starts)
    while True:
        made = ["_".join(tag[:depth]) for tag, depth in zip(tags, depths, strict=True)]
        alike = [i for i, name in enumerate(made) if made.count(name) > 1 and depths[i] < len(tags[i])]
        if not alike:
            break
        for i in alike:
            depths[i] += 1
    if twice := [name for i, name in enumerate(made) if name in made[:i]]:
        raise ConfigError(f"two of --weights would both be called {twice[0]}: rename one of their folders")
    return made


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


def _seeds(typed: str) -> list[int]:
    words = [word.strip() for word in typed.split(",") if word.strip()]
    if not words or not all(word.isdecimal() and int(word) < 2**32 for word in words):
        raise ConfigError(f"--seeds is {typed!r}, but must be a number of seeds (3) or a list of them (0,5,9)")
    seeds = [int(word) for word in words] if "," in typed else list(range(int(typed)))
    if not seeds:
        raise ConfigError("--seeds is 0, but at least one seed is needed")
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {typed}: duplicate seed {next(s for s in seeds if seeds.count(s) > 1)}")
    return seeds
