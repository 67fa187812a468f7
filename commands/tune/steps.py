"""`tune --steps`: six steps to a tuned training (Karpathy, CS231n), and a sentence on what each of them found."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lightning.pytorch import Trainer

from callbacks.figures.log import log_figure
from callbacks.figures.tuning import tuning_slices
from callbacks.results.learning_curves import read_curves, verdict
from callbacks.results.number_format import duration, number
from callbacks.terminal import print_line
from commands.next_commands import command_line
from commands.report.command import write_report
from commands.tune.findings import Finding, Findings
from commands.tune.first_steps import FirstSteps
from commands.tune.narrowing import at_edge, narrowed
from commands.tune.plan import SHORTEST, Plan
from commands.tune.report import trials_of, write_files
from commands.tune.search import Search
from commands.tune.space import Dimension, Space, dimension, encoded, typed
from commands.tune.study import Trials
from commands.tune.watch import Metric
from modules.contracts import ConfigError, DataError, counted

INITIAL, BY_HEART, RANGE_TEST = "Initial loss", "A few samples by heart", "Learning-rate range test"
COARSE, FINE, CURVES = "Coarse search", "Fine search", "Learning curves"
LR = "model.optim.lr"
COARSE_EPOCHS, FINE_EPOCHS = (1, 5), (10, 20)
"""Least and most epochs of the two searches."""
COARSE_BUDGET = 1 / 3
"""Share of the time left that the coarse search may take."""


class Steps:
    """The six steps; those that are done are kept in the run directory and not repeated.

    Args:
        plan: of the command.
        space: of the coarse search.
        metric: of the configured training.
        findings: so far, with the flat configuration.
        seed: of the trials.
        first: the first three steps; null for a task that they do not suit.
        trainer: knows the folder and the loggers; it trains nothing.
    """

    def __init__(
        self,
        plan: Plan,
        space: Space,
        metric: Metric,
        findings: Findings,
        seed: int,
        first: FirstSteps | None,
        trainer: Trainer,
    ):
        self.plan, self.space, self.metric, self.findings, self.seed = plan, space, metric, findings, seed
        self.first, self.trainer = first, trainer

    def walk(self, command: str) -> Iterator[str]:
        """Take the steps that are not done yet; yields lines about all of them.

        Args:
            command: as typed.
        """
        first = self.first
        steps: dict[str, Callable[[], Finding]] = {
            INITIAL: first.initial_loss if first else _unsuited,
            BY_HEART: first.by_heart if first else _unsuited,
            RANGE_TEST: first.range_test if first else _unsuited,
            COARSE: self.coarse,
            FINE: self.fine,
            CURVES: self.curves,
        }
        for place, (title, step) in enumerate(steps.items(), start=1):
            if title not in self.findings.found:
                began = time.monotonic()
                found = step()
                seconds = {"seconds": round(time.monotonic() - began, 1)} | found.values
                self.findings.add(title, found._replace(values=seconds))
            yield f"step {place} of {len(steps)}, {title.lower()}: {self.findings.found[title].said}"
        folder = self.plan.folder
        figures = sorted(path.name for path in (folder / "figures").glob("*.png"))
        self.findings.end(command)
        page = write_report(folder, "steps.json")
        yield f"written: {folder}/  ({page.name}, best.yaml, steps.json, figures/: {', '.join(figures)})"
        yield f"next, the best:   {command_line('fit', '--config', str(folder / 'best.yaml'))}"

    def coarse(self) -> Finding:
        """Search a wide space with short trainings, from the learning rate of the range test."""
        found, space = self.findings.found[RANGE_TEST].values.get("lr"), dict(self.space)
        if found and LR in space and not self.plan.space:
            low, high = (float(f"{end:.3g}") for end in (found / 10, found * 10))
            space[LR] = Dimension(low, high, log=True)
        changed = {LR: found} if found and LR in space and space[LR].holds(found) else {}
        return self._search(COARSE, space, changed, _within(self._epochs / 5, COARSE_EPOCHS), "random")

    def fine(self) -> Finding:
        """Search around the best of the coarse search with longer trainings."""
        known = self.findings.found[COARSE].values
        space = narrowed({name: dimension(name, each) for name, each in known["space"].items()}, known["best"])
        return self._search(FINE, space, known["best"], _within(self._epochs, FINE_EPOCHS), "tpe")

    def curves(self) -> Finding:
        """Look at the learning curves of the best training, and keep its configuration as best.yaml."""
        known, folder = self.findings.found[FINE].values, self.plan.folder
        run = folder / known["run"]
        for path in (run.parents[1] / "best.yaml", run / "metrics.csv"):
            if not path.is_file():
                raise DataError(f"{path} of the {FINE.lower()} is gone: put it back, or choose another --run_dir")
        (folder / "figures").mkdir(exist_ok=True)
        if (drawn := run / "figures" / "learning_curves.png").is_file():
            shutil.copyfile(drawn, folder / "figures" / drawn.name)
        shutil.copyfile(run.parents[1] / "best.yaml", folder / "best.yaml")
        found = verdict(read_curves(run / "metrics.csv"), self.metric.name, self.metric.mode)
        good = {"converged": True, "overfitting": False, "declining": False}.get(found.kind)
        return Finding(f"{found.text[:1].upper()}{found.text[1:]}.", {"kind": found.kind}, good)

    def _search(self, title: str, space: Space, changed: Mapping[str, Any], epochs: int, sampler: str) -> Finding:
        """Search a space with trainings of so many epochs, from the configuration with `changed` settings.

        Raises:
            ConfigError: no trial was finished within the budget.
        """
        search, trials = self._prepared(title, space, changed, epochs, sampler)
        for line in search.run():
            print_line(f"  {line}")
            write_files(search)
        finished: list[Any] = trials.finished()
        if not finished:
            raise ConfigError(
                f"--budget is {duration(self.plan.budget or 0)}, which is too small for one trial of the "
                f"{title.lower()}: raise it, and go on with --run_dir {self.plan.folder}"
            )
        best, shown = finished[0], trials_of(search)
        logarithmic = [name for name, each in space.items() if each.log]
        name = f"{title}: {len(shown)} trials of {epochs} epochs, by {self.metric.name}"
        if best.params:
            figure = tuning_slices(shown, self.metric.name, logarithmic, name)
            log_figure(self.trainer, title.lower().replace(" ", "_"), figure)
        start = next((f", the start {number(t.value)}" for t in finished if t.number == 0), "")
        late = sum(trial.state == "unfinished" for trial in shown)
        said = f"{counted(len(shown), 'trials')} of {epochs} epochs{f' ({late} unfinished)' * bool(late)}: "
        said += f"the best has {self.metric.name}" if best.number else f"none beats the start, {self.metric.name}"
        said += f" {number(best.value)}{start if best.number else ''}; "
        said += ", ".join(f"{key} {f'{v:.3g}' if isinstance(v, float) else v}" for key, v in best.params.items())
        if edges := at_edge(space, best.params):
            said += f". At the edge of its range: {', '.join(edges)}"
        values = {
            "best": {**changed, **best.params},
            "run": trials.run_folder(best.number).relative_to(self.plan.folder).as_posix(),
            "space": {key: each.plain() for key, each in space.items()},
            "seconds": round(search.spent(), 1),
        }
        return Finding(f"{said}.", values, None if edges or not best.number else True)

    def _prepared(
        self, title: str, space: Space, changed: Mapping[str, Any], epochs: int, sampler: str
    ) -> tuple[Search, Trials]:
        """A search in a folder of its own."""
        folder, count = self.plan.folder / title.partition(" ")[0].lower(), self.plan.trials
        folder.mkdir(exist_ok=True)
        budget = None
        if self.plan.budget:
            spent = sum(found.values["seconds"] for found in self.findings.found.values())
            budget = max(SHORTEST, (self.plan.budget - spent) * (COARSE_BUDGET if title == COARSE else 1))
        plan = self.plan._replace(
            folder=folder,
            trials=count if title == COARSE or count is None else max(2, count // 2),
            budget=budget,
            sampler=sampler,
            seeds=0,
            typed=[*self.plan.typed, typed("trainer.max_epochs", epochs), *(typed(*pair) for pair in changed.items())],
        )
        validations = max(1, round((self.metric.validations or self._epochs) * epochs / self._epochs))
        metric = self.metric._replace(epochs=epochs, validations=validations)
        trials = Trials(folder, space, sampler, metric.mode, self.seed, validations)
        start = {**self.findings.settings, **changed}
        trials.begin({"epochs": epochs}, {name: encoded(start.get(name)) for name in space})
        return Search(plan, trials, metric, self.seed), trials

    @property
    def _epochs(self) -> float:
        """Epochs of the configured training; 10 for one that counts steps."""
        return self.metric.epochs if self.metric.epochs < float("inf") else 10


def _unsuited() -> Finding:
    return Finding("It says nothing of a task with two optimizers, whose losses work against each other.", {})


def _within(epochs: float, ends: tuple[int, int]) -> int:
    return int(min(max(epochs, ends[0]), ends[1]))
