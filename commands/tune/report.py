"""Files, tables and figures that a search leaves: trials.csv, tune.json, best.yaml and its figures."""

import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning.pytorch import Trainer
from rich.console import Console

from callbacks.figures.log import log_figure, log_table
from callbacks.figures.tuning import tuning_history, tuning_importance, tuning_slices
from callbacks.results.number_format import duration, number
from callbacks.results.tuning import Difference, Trial, best_first, paired_by_seed, trial_rows, trial_table, verdict
from callbacks.terminal import print_line
from callbacks.writers.per_class import write_csv
from commands.next_commands import command_line
from commands.report.command import write_report
from commands.tune.search import FAILED, Search
from commands.tune.watch import SECONDS
from modules.contracts import GREEDY, ConfigError, writing

if TYPE_CHECKING:
    import optuna

DEFAULT = "the default (trial 0)"
FEWEST = 4
"""Finished trials that the importance of settings is computed from."""


def trials_of(search: Search) -> list[Trial]:
    """Trials of a study, best first."""
    return best_first([_trial(frozen) for frozen in search.trials.all()], search.metric.mode)


def _trial(frozen: "optuna.trial.FrozenTrial") -> Trial:
    from optuna.trial import TrialState

    reason, shown = frozen.user_attrs.get(FAILED, ""), frozen.intermediate_values
    states = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned"}
    state = "failed" if reason else states.get(frozen.state, "unfinished")
    seen = [shown[index] for index in sorted(shown)]
    value = frozen.value if state == "finished" else seen[-1] if seen else None
    return Trial(frozen.number, state, value, frozen.params, seen, frozen.user_attrs.get(SECONDS, 0.0), reason)


def write_files(search: Search, found: "Confirmation | None" = None) -> None:
    """Write trials.csv, tune.json and best.yaml of what is known so far; the last unless the trial's folder is gone."""
    folder, trials, metric = search.plan.folder, trials_of(search), search.metric
    rows = trial_rows(trials, metric.name)
    _replace(folder / "trials.csv", lambda path: write_csv(path, rows))
    best = trials[0] if trials and trials[0].state == "finished" else None
    difference = found.difference._asdict() if found else None
    report = {
        "command": search.plan.command,
        "metric": metric.name,
        "mode": metric.mode,
        "sampler": search.plan.sampler,
        "space": {name: dimension.plain() for name, dimension in search.trials.space.items()},
        "best trial": best.number if best else None,
        "verdict": said_verdict(search, found),
        "confirmation": found._asdict() | {"difference": difference} if found else None,
        "seconds": round(search.spent(), 1),
        "trials": [trial._asdict() for trial in sorted(trials)],
    }
    _replace(folder / "tune.json", lambda path: path.write_text(json.dumps(report, indent=2, default=str) + "\n"))
    if best:
        _write_best(search, best)


def _write_best(search: Search, best: Trial) -> None:
    """Write best.yaml; where the trial's folder is gone, keep that of the same trial and remove that of another."""
    file = search.plan.folder / "best.yaml"
    settings = ", ".join(f"{name} {value}" for name, value in best.settings.items()) if best.number else "default"
    line = (
        f"# Trial {best.number} of {search.plan.folder}: {search.metric.name} {number(best.value or 0.0)}; {settings}\n"
    )
    try:
        text = (search.trials.run_folder(best.number) / "config.yaml").read_text()
    except FileNotFoundError:
        if file.is_file() and not file.read_text().startswith(f"# Trial {best.number} of "):
            file.unlink()
        return
    _replace(file, lambda path: path.write_text(line + text))


def _replace(path: Path, write: Any) -> None:
    """Write a file as a whole: other processes of the search write it too."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        write(partial)
        partial.replace(path)


class Confirmation(NamedTuple):
    """Best trial and default, trained with the same fresh seeds.

    Args:
        trial: number of the best trial.
        metric: log name of what they are compared by; of the test set where there is one.
        protocol: of the metric.
        best: values of the trial.
        default: values of the default.
        difference: trial minus default, paired by seed.
    """

    trial: int
    metric: str
    protocol: str
    best: list[float]
    default: list[float]
    difference: Difference


def confirmed(search: Search) -> Confirmation | None:
    """The confirmation of a search; null with fewer than two pairs of runs."""
    runs = {job: search.confirmation(*job) for job in search.jobs()}
    seeds = [seed for trial, seed in runs if trial == 0]
    best = next((trial for trial, _ in runs if trial), 0)
    found = [(runs[best, seed], runs[0, seed]) for seed in seeds]
    pairs = [(ours, theirs) for ours, theirs in found if ours and theirs]
    if len(pairs) < 2:
        return None
    test = f"test/{search.metric.name.partition('/')[2].removesuffix(GREEDY)}"
    name = test if all(test in run.results for pair in pairs for run in pair) else search.metric.name
    ours, theirs = ([run.results[name] for run in side] for side in zip(*pairs, strict=True))
    return Confirmation(best, name, pairs[0][0].protocols[name], ours, theirs, paired_by_seed(ours, theirs))


def said_verdict(search: Search, found: Confirmation | None) -> str:
    """Sentence on whether the best trial beats the default; empty while no trial is finished."""
    finished = search.trials.finished()
    if not finished:
        return ""
    best, default = finished[0], next((trial for trial in finished if trial.number == 0), None)
    if best.number == 0:
        return f"no trial beats {DEFAULT} in {search.metric.name}"
    if found:
        return f"{verdict(best.number, search.metric.mode, found.difference)} ({found.metric})"
    lead = f"its {search.metric.name} {best.value:.4f} is the best of {len(finished)} finished trials with one seed"
    against = f", against {default.value:.4f} of the default" if default else ""
    longest = max(trial.user_attrs.get(SECONDS, 0.0) for trial in finished)
    if not search.plan.seeds:
        remedy = "--seeds 3 would tell"
    else:
        remedy = f"{search.plan.seeds} seeds of both, about {duration(2 * search.plan.seeds * longest)}, would tell"
    return f"it is not known whether trial {best.number} beats the default: {lead}{against}; {remedy}"


def report(search: Search, trainer: Trainer) -> None:
    """Print the table of trials and the verdict, draw and log the figures, and print the next command.

    Raises:
        ConfigError: no trial was finished.
    """
    trials, metric, folder = trials_of(search), search.metric, search.plan.folder
    finished = [trial for trial in trials if trial.state == "finished"]
    found = confirmed(search)
    write_files(search, found)
    if not finished:
        raise ConfigError(
            f"--budget is {duration(search.plan.budget or 0)}, which is too small for one trial: none was finished in "
            f"{duration(search.spent())}; raise it and go on with --run_dir {folder}"
        )
    Console(highlight=False).print(trial_table(trials, metric.name, metric.mode))
    if found:
        print_line(f"protocol: {found.protocol}")
    print_line(said_verdict(search, found))
    title = f"{len(trials)} trials ({search.plan.sampler}) by {metric.name}"
    log_figure(trainer, "history", tuning_history(trials, metric.name, metric.mode, title))
    logarithmic = [name for name, dimension in search.trials.space.items() if dimension.log]
    names = {name for trial in trials for name in trial.settings}
    if names:
        log_figure(trainer, "slices", tuning_slices(trials, metric.name, logarithmic, title))
    if shares := importance(search):
        log_figure(trainer, "importance", tuning_importance(shares, f"Importance of settings, {title}"))
    else:
        print_line(f"no figure of the importance of settings: it takes {FEWEST} finished trials that differ")
    heading, *rows = trial_rows(trials, metric.name)
    log_table(trainer, "trials", heading, [[str(cell) for cell in row] for row in rows])
    drawn = sorted(path.name for path in (folder / "figures").glob("*.png"))
    best = (folder / "best.yaml").is_file()
    page = write_report(folder, "tune.json").name
    print_line(
        f"written: {folder}/  ({page}, {'best.yaml, ' * best}trials.csv, tune.json, figures/: {', '.join(drawn)})"
    )
    if best:
        print_line(f"next, the best:   {command_line('fit', '--config', str(folder / 'best.yaml'))}")
    else:
        gone = search.trials.run_folder(finished[0].number)
        print_line(f"no best.yaml: {gone}, the best trial, is gone; type its settings, or choose another --run_dir")


def importance(search: Search) -> dict[str, float]:
    """Share of the variation of the metric that each setting explains (fANOVA); empty with too few finished trials."""
    import optuna

    finished = search.trials.finished()
    if len(finished) < FEWEST or len({trial.value for trial in finished}) < 2:
        return {}
    names = [name for name in search.trials.space if all(name in trial.params for trial in finished)]
    names = [name for name in names if len({trial.params[name] for trial in finished}) > 1]
    if not names:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return optuna.importance.get_param_importances(search.trials.study, evaluator=evaluator, params=names)
