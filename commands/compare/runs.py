"""Runs of a comparison: train those that are missing, and write the results after each repetition."""

import hashlib
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from lightning.pytorch import Trainer

from callbacks.results.comparison import Comparison
from callbacks.results.comparison_report import print_report, write
from callbacks.results.finished_run import Run, read_run
from callbacks.results.out_of_fold import write_out_of_fold
from callbacks.results.variants import Repeat
from callbacks.run_directory import RunDirectory
from callbacks.terminal import print_line
from commands import child
from commands.arguments import flatten
from commands.compare.plan import Plan
from commands.compare.suspects import report_suspects
from commands.report.command import write_report
from commands.yaml_text import read_settings
from datamodules import DataModule
from modules.contracts import DataError, writing
from modules.training.transfer import weights_file
from tasks import Task


def compare(
    plan: Plan,
    task: Task,
    data: DataModule,
    settings: dict[str, dict[str, Any]],
    completed: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]],
    trainer: Trainer,
    directory: RunDirectory,
) -> None:
    """Train the missing runs, repetition by repetition, and write the results after each.

    Args:
        plan: the runs.
        task: its monitor is compared.
        data: set up; it has the word for test items, and the samples to draw.
        settings: the flat configuration of each variant.
        completed: adds to the configuration of an older run what it lacks beside that of a variant.
        trainer: knows the folder and the loggers of the comparison; it trains nothing.
        directory: the plan's folder, claimed; every run holds its lock too, in case this process is killed.

    Raises:
        DataError: a run that is there was made with other settings, or a run failed.
        Stopped: by SIGINT or SIGTERM; the run was told to save.
    """
    order = [(repeat, variant) for repeat in plan.repeats for variant in plan.variants]
    for repeat, variant in order:
        _check_made(plan, variant, repeat, settings[variant], completed)
    _begin(plan)
    started = {name: flat["model.weights"] for name, flat in settings.items() if flat.get("model.weights")}
    check_starts(plan.folder, started)
    print_line(f"{len(order)} runs; output of each: {plan.folder}/VARIANT/RUN.log")
    directory.point_latest()
    comparison = Comparison(task.monitor, task.mode, plan.variants, data.noun)
    with child.stopping(plan.folder):
        try:
            for done, (repeat, variant) in enumerate(order, start=1):
                check_starts(plan.folder, {name: source for name, source in started.items() if name == variant})
                run, note = _run(plan, variant, repeat, task.monitor, directory.lock)
                result = comparison.add(variant, repeat, run)
                print_line(f"[{done}/{len(order)}] {variant}, {repeat.words}: {result}, {note}")
                if done % len(plan.variants) == 0:
                    write(comparison, trainer, plan.command)
            for variant in plan.variants if plan.repeats[0].folds else ():
                _out_of_fold(plan, variant, data, trainer)
        finally:
            print_report(comparison)
    page = write_report(plan.folder, "compare.json").name
    tables = [name for name in ("out_of_fold.csv", "suspects.csv") if any(plan.folder.glob(f"*/{name}"))]
    files = [page, "compare.json", "compare.csv", "figures/compare.png", "VARIANT/RUN/"]
    print_line(f"written: {plan.folder}/  ({', '.join(files + [f'VARIANT/{name}' for name in tables])})")


def _check_made(
    plan: Plan, variant: str, repeat: Repeat, settings: dict[str, Any], completed: Callable[..., dict[str, Any]]
) -> None:
    """Check that a run that is there was trained with the same settings."""
    path = plan.run_folder(variant, repeat) / "config.yaml"
    if not path.is_file():
        return
    now = settings | repeat.settings
    then = completed(flatten(read_settings(path, DataError), skip="init_args"), now)
    if now.get("find_lr"):  # the run keeps the rate that it found
        now |= {key: then.get(key) for key in ("find_lr", "model.optim.lr")}
    for key in sorted(now.keys() | then.keys()):
        if now.get(key) != then.get(key):
            raise DataError(
                f"{path.parent} was trained with {key} {then.get(key)}, not {now.get(key)}: "
                "type what was typed then, or choose another --run_dir"
            )


def check_starts(folder: Path, weights: dict[str, str]) -> None:
    """Check that weights are still those that the comparison began with; the first call notes them in `starts.json`.

    Args:
        folder: of the comparison.
        weights: that variants start from, by their names.

    Raises:
        DataError: a file has another content, as the checkpoint of a run that is still training.
    """
    path = folder / "starts.json"
    try:
        known: dict[str, str] = dict(json.loads(path.read_text())) if path.is_file() else {}
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path} is damaged: delete it; it is written anew, from the weights as they are now"
        ) from error
    for name, source in weights.items():
        if source == "pretrained":
            continue
        file = weights_file(source)
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if known.setdefault(name, digest) != digest:
            raise DataError(
                f"{file}, which {name} starts from, has changed since the comparison began: wait until its run has "
                "ended, and begin in another --run_dir"
            )
    with writing(path):
        path.write_text(json.dumps(known) + "\n")


def _begin(plan: Plan) -> None:
    """Mark the folder as a comparison, so that it can be continued."""
    if not plan.begun:
        path = plan.folder / "compare.json"
        variants = {name: variant.settings for name, variant in plan.variants.items()}
        with writing(path):
            path.write_text(json.dumps({"variants": variants}) + "\n")


def _out_of_fold(plan: Plan, variant: str, data: DataModule, trainer: Trainer) -> None:
    """Write out-of-fold predictions of a variant, and the probable label errors that they show."""
    folder = plan.folder / variant
    judged = write_out_of_fold(folder, plan.repeats)
    figure = "suspects" if len(plan.variants) == 1 else f"suspects_{variant}"
    if judged and (sentence := report_suspects(folder, figure, judged, data, trainer)):
        print_line(f"probable label errors, by {variant}: {sentence}")


def _run(plan: Plan, variant: str, repeat: Repeat, monitor: str, lock: IO[str]) -> tuple[Run, str]:
    """One finished run, trained when it is not there, and a note on how long that took."""
    folder = plan.run_folder(variant, repeat)
    ended = child.fit(plan.arguments(variant, repeat), folder, lock)
    if ended and ended.code:
        raise ended.error(
            f"{variant}, {repeat.words} failed: {ended.reason} (all it said is in {ended.log}; "
            f"once mended, go on with --run_dir {shlex.quote(str(plan.folder))})"
        )
    return read_run(folder, monitor), f"{ended.seconds / 60:.1f} min" if ended else "finished before"
