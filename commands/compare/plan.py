"""Arguments of `compare` and the runs that they ask for."""

from pathlib import Path
from typing import NamedTuple

from callbacks.results.variants import Repeat, Variant
from callbacks.run_directory import typed_path
from commands.arguments import run_name
from commands.child import check_alone
from commands.compare.axes import WEIGHTS, Axis, grid, plain_name, read_vary, read_weights
from commands.given_settings import typed_names
from commands.overview import program
from commands.own_options import OwnOptions
from modules.contracts import ConfigError

INSTEAD = {"seed_everything": "--seeds", "ckpt_path": "--run_dir DIR to go on", WEIGHTS: "--weights"}
"""Options of fit that compare sets itself, and what is typed in their place."""
MOST_SEEDS = 1000


class Plan(NamedTuple):
    """Runs of a comparison: every variant with every repetition.

    Args:
        variants: by name.
        repeats: of each variant.
        folder: holds the run directories `<variant>/seed<k>/` and the results of the comparison.
        typed: the arguments of fit that all runs share.
        fresh: the folder has a name from the time; where another process was quicker, the next one is taken.
        command: as typed.
    """

    variants: dict[str, Variant]
    repeats: list[Repeat]
    folder: Path
    typed: list[str]
    fresh: bool = False
    command: str = ""

    @property
    def begun(self) -> bool:
        """True if the folder holds a comparison, which is then continued."""
        return (self.folder / "compare.json").is_file()

    @property
    def starts(self) -> list[str | None]:
        """Weights that runs start from, null for random ones; empty where all take the YAML's."""
        found = (variant.settings for variant in self.variants.values())
        return list(dict.fromkeys(settings[WEIGHTS] for settings in found if WEIGHTS in settings))

    def run_folder(self, variant: str, repeat: Repeat) -> Path:
        return self.folder / variant / repeat.name

    def arguments(self, variant: str, repeat: Repeat | None = None) -> list[str]:
        """The arguments of fit for one run, or for what all repetitions of a variant share."""
        own = self.variants[variant].settings | (repeat.settings if repeat else {})
        return [*self.typed, *(f"--{name}={'null' if value is None else value}" for name, value in own.items())]


class Parser(OwnOptions):
    """compare's own options."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} compare",
            f"{program()} compare --config tasks/TASK.yaml [--weights none,RUN,...] [--vary SETTING=VALUE,... ...] "
            "[--seeds N] [--run_dir DIR] [...]",
            "Compares initializations and settings: trains one task in several variants, with the same seeds for each, "
            "and writes a table, compare.json, compare.csv and figures/compare.png.",
            f"All options of `fit` work too and hold for every run ({program()} fit --help), except those that vary, "
            "--seed_everything and --ckpt_path.",
        )
        self.add_argument(
            "--weights",
            metavar="START,...",
            help="initial weights of the backbone, separated by commas: `none` for random weights, `pretrained` for "
            "timm's, or a run directory, a .ckpt or a backbone.safetensors. Differences are taken to `none`, else to "
            "the first",
        )
        self.add_argument(
            "--vary",
            metavar="SETTING=VALUE,...",
            action="append",
            default=[],
            help="a setting of fit and its values: model.optim.lr=0.1,0.01 or model.backbone=resnet18,resnet50; values "
            "with commas are quoted, or YAML lists: data.scale=[0.2,1],[0.5,1]. Several --vary, and --weights, make a "
            "grid. Differences are taken to the first values, or to the reference weights with all else equal",
        )
        self.add_argument(
            "--seeds",
            help="number of seeds (3 means 0, 1 and 2), or a list: 0,5,9. Default 3, with --folds 1",
        )
        self.add_argument(
            "--folds",
            default="0",
            metavar="K",
            help="k-fold cross-validation: K runs of each seed, each tested on another K-th of the training samples, "
            "stratified by class; --data.fold_groups keeps groups together. Needs no --weights or --vary. Writes "
            "VARIANT/out_of_fold.csv, the prediction of every sample by the run that has not seen it",
        )
        self.add_argument(
            "--run_dir",
            help="output folder; default runs/compare_NAME/TIME. An interrupted comparison resumes when given its "
            "folder: finished runs are not repeated, unfinished ones continue from their last checkpoint",
        )


def typed_plan(argv: list[str]) -> Plan:
    """Parse the arguments typed after `compare`.

    Raises:
        ConfigError: a start, setting or seed is missing, wrong or named twice, or an option that compare sets itself
            was typed.
    """
    own, typed = Parser().parse_known_args(argv)
    check_alone("compare")
    axes = read_vary(own.vary)
    if own.weights is not None:
        axes.append(read_weights(own.weights))
    folds = _folds(own.folds)
    if not (axes or folds):
        raise ConfigError(
            "compare needs something to compare: add --weights none,RUN,..., --vary SETTING=VALUE,... or --folds K"
        )
    if folds and (twice := next((a.setting for a in axes if a.setting in Repeat(0, folds).settings), None)):
        raise ConfigError(f"--folds sets {twice} for each run itself: leave --vary {twice}=... out")
    _check_shared(typed, axes, folds)
    folder = typed_path(own.run_dir, f"compare_{run_name(typed)}")
    seeds = _seeds(own.seeds or ("1" if folds else "3"))
    repeats = [Repeat(seed, folds, fold) for seed in seeds for fold in range(max(folds, 1))]
    return Plan(grid(axes) if axes else alone(run_name(typed)), repeats, folder, typed, fresh=own.run_dir is None)


def alone(name: str) -> dict[str, Variant]:
    """The only variant where nothing but the folds differs."""
    return {name: Variant({}, {"": name})}


def _check_shared(typed: list[str], axes: list[Axis], folds: int) -> None:
    """Refuse settings of all runs that each run has a value of its own for, also those typed within YAML text."""
    varied = {axis.setting: [f"--{axis.setting}={value}" for value in axis.values.values()] for axis in axes}
    own = {name: f"--vary {axis}=..." for axis, words in varied.items() for name in typed_names(words)}
    own |= {name: remedy for name, remedy in INSTEAD.items() if name != WEIGHTS or WEIGHTS in own}
    own |= dict.fromkeys(Repeat(0, folds).settings, "--seeds and --folds") if folds else {}
    options = [word.partition("=")[0] for word in typed if word.startswith("--")]
    for name in sorted(typed_names(typed) & own.keys()):
        option = next((option for option in options if plain_name(option) == name), name)
        raise ConfigError(f"compare sets {option} for each run itself: leave it out and say {own[name]}")


def _folds(typed: str) -> int:
    if not typed.isdecimal() or int(typed) == 1:
        raise ConfigError(f"--folds is {typed}, but a cross-validation has a whole number of folds, 2 or more")
    return int(typed)


def _seeds(typed: str) -> list[int]:
    words = [word.strip() for word in typed.split(",") if word.strip()]
    if not words or not all(word.isdecimal() and int(word) < 2**32 for word in words):
        raise ConfigError(f"--seeds is {typed!r}, but must be a number of seeds (3) or a list of them (0,5,9)")
    if len(words) == 1 and int(words[0]) > MOST_SEEDS:
        raise ConfigError(f"--seeds is {typed}, but is a number of seeds, at most {MOST_SEEDS}: name one as {typed},")
    seeds = [int(word) for word in words] if "," in typed else list(range(int(typed)))
    if not seeds:
        raise ConfigError("--seeds is 0, but at least one seed is needed")
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {typed}: duplicate seed {next(s for s in seeds if seeds.count(s) > 1)}")
    return seeds
