"""Arguments of `advise`: the candidates, and how many of them the budget can race."""

from pathlib import Path
from typing import NamedTuple

from callbacks.run_directory import typed_path
from commands.arguments import ROOT
from commands.child import check_alone
from commands.compare.axes import WEIGHTS, read_weights, split_values
from commands.given_settings import typed_names
from commands.overview import program
from commands.own_options import OwnOptions
from commands.tune.plan import budget
from modules.contracts import ConfigError, suggest

METHODS = (
    "simclr vicreg dino mae moco_v3 supcon swav barlow_twins lejepa nnclr byol ijepa moco simsiam rotation "
    "masked_patches jigsaw colorization autoencoder"
).split()
"""Pretraining methods by the order in which a short budget takes them: different ideas come first."""
TASKS = ROOT / "tasks"
OWN = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time", "ckpt_path", "run_dir")
"""Settings that each training has a value of its own for."""
SHORTEST = 25.0
"""Seconds of training that a candidate must get in the first rung to be raced at all."""
OVERHEAD = 10.0
"""Seconds that a training takes beside its steps, about."""


class Candidate(NamedTuple):
    """A pretraining from a start.

    Args:
        config: its YAML.
        start: label of the weights that it starts from; `none` for random ones.
        weights: as `--model.weights` takes them; null for random ones.
    """

    config: Path
    start: str
    weights: str | None

    @property
    def method(self) -> str:
        """Name of the YAML."""
        return self.config.stem

    @property
    def name(self) -> str:
        """Short, unique and fit for a folder."""
        return self.method if self.start == "none" else f"{self.method},{self.start}"

    @property
    def words(self) -> str:
        """Name for sentences."""
        return f"{self.method} from {'random weights' if self.weights is None else self.start}"


class Plan(NamedTuple):
    """A race.

    Args:
        candidates: in the order in which a short budget takes them.
        budget: seconds in all.
        folder: run directory.
        typed: the arguments of fit that all trainings share.
        whole: give all candidates the same time and leave none out.
        fresh: the folder has a name from the time; where another process was quicker, the next one is taken.
        command: as typed.
    """

    candidates: list[Candidate]
    budget: float
    folder: Path
    typed: list[str]
    whole: bool = False
    fresh: bool = False
    command: str = ""

    @property
    def begun(self) -> bool:
        """True if the folder holds a race, which is then continued."""
        return (self.folder / "advise.json").is_file()

    def sizes(self, candidates: int) -> list[int]:
        """Number of candidates in each rung."""
        return [candidates] if self.whole else rungs(candidates)

    def needed(self, candidates: int) -> float:
        """Seconds in which so many candidates get their shortest training in the first rung."""
        return candidates * len(self.sizes(candidates)) * (SHORTEST + OVERHEAD)

    @property
    def affordable(self) -> int:
        """Number of candidates that the budget can race, two at least."""
        number = 2
        while self.budget >= self.needed(number + 1):
            number += 1
        return number

    @property
    def starts(self) -> dict[str, str | None]:
        """Weights that candidates start from, by label."""
        return {one.start: one.weights for one in self.candidates}

    def arguments(self, one: Candidate) -> list[str]:
        """The arguments of fit that all trainings of a candidate share."""
        weights = [f"--{WEIGHTS}={one.weights}"] if one.weights else []
        return ["--config", str(one.config), *self.typed, *weights]


class Parser(OwnOptions):
    """advise's own options."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} advise",
            f"{program()} advise [--data CLASS --data.root FOLDER] [--budget 20m] [--methods A,B] [--weights none,RUN] "
            "[...]",
            "Says which pretraining to take for your data: races methods and initial weights by successive halving, "
            "each rung with half as many candidates and twice the time, judged by a linear probe on val images, and "
            "answers in a paragraph with 95 % intervals.",
            f"All options of `fit` work too and hold for every training ({program()} fit --help), except --config, "
            "--model.weights, --ckpt_path and the trainer's epochs and steps.",
        )
        self.add_argument("--budget", default="20m", help="time in all, such as 10m, 2h or 1h30m; default %(default)s")
        self.add_argument(
            "--methods",
            metavar="NAME,...",
            help="YAMLs to race, those of tasks/ by name: simclr,dino,my/mae.yaml; default as many of all pretraining "
            "methods as the budget can race",
        )
        self.add_argument(
            "--weights",
            metavar="START,...",
            default="none,pretrained",
            help="initial weights of the backbone, separated by commas: `none` for random weights, `pretrained` for "
            "timm's, or a run directory, a .ckpt or a backbone.safetensors. Default %(default)s",
        )
        self.add_flag("--grid", "give every candidate the same share of the budget and leave none out on the way")
        self.add_argument(
            "--run_dir",
            help="output folder; default runs/advise/TIME. An interrupted race resumes when given its folder: finished "
            "trainings are not repeated",
        )


def typed_plan(argv: list[str]) -> Plan:
    """Parse the arguments typed after `advise`.

    Raises:
        ConfigError: one is wrong, or an option that advise sets itself was typed.
    """
    own, typed = Parser().parse_known_args(argv)
    check_alone("advise")
    remedies = dict.fromkeys(OWN, "--budget") | {"ckpt_path": "--run_dir DIR to go on", WEIGHTS: "--weights"}
    names = typed_names(typed)
    for name, remedy in ({"config": "--methods"} | remedies).items():
        if name in names or (name == "config" and any(word.partition("=")[0] in ("--config", "-c") for word in typed)):
            raise ConfigError(f"advise sets --{name} for each training itself: leave it out and say {remedy}")
    starts = read_weights(own.weights).values
    candidates = [Candidate(method, *start) for method in _methods(own.methods) for start in starts.items()]
    folder = typed_path(own.run_dir, "advise")
    return Plan(candidates, budget(own.budget) or 0.0, folder, typed, own.grid, own.run_dir is None)


def _methods(typed: str | None) -> list[Path]:
    """YAMLs of the methods."""
    if typed is None:
        return [TASKS / f"{name}.yaml" for name in METHODS]
    there = sorted(path.stem for path in TASKS.glob("*.yaml"))
    found = []
    for word in split_values("--methods", typed):
        own = Path(word).expanduser()
        known = TASKS / f"{word.removeprefix('tasks/').removesuffix('.yaml')}.yaml"
        file = own if own.suffix == ".yaml" and own.is_file() else known
        if not file.is_file():
            raise ConfigError(f"--methods names {word}, but there is no tasks/{known.name}{suggest(known.stem, there)}")
        if file.stem in (one.stem for one in found):
            raise ConfigError(f"--methods names {file.stem} twice: leave it out once")
        found.append(file)
    if not found:
        raise ConfigError("--methods names nothing to race: say --methods simclr,dino")
    return found


def rungs(candidates: int) -> list[int]:
    """Number of candidates in each rung: half as many in the next, until two are left."""
    found = [candidates]
    while found[-1] > 2:
        found.append(-(-found[-1] // 2))
    return found
