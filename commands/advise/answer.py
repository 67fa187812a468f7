"""Answer of a race: a table, a paragraph, a figure, and the next commands."""

from pathlib import Path

from lightning.pytorch import Trainer
from rich.console import Console
from rich.table import Table

from callbacks.figures.log import log_figure, log_table
from callbacks.results.number_format import duration
from callbacks.terminal import print_line
from commands.advise.drawing import race_figure
from commands.advise.judge import Judged, apart
from commands.advise.plan import TASKS
from commands.advise.race import Race, said
from commands.next_commands import command_line, next_commands
from datamodules import DataModule
from modules.metrics.bootstrap import Estimate

COLUMNS = ("pretraining", "linear probe (%)", "kNN (%)", "training", "steps", "s/step")


def report(race: Race, data: DataModule, trainer: Trainer) -> None:
    """Print table, paragraph and next commands; write them and a figure to the run directory."""
    folder = race.plan.folder
    rows = table_rows(race)
    table = Table(title="Candidates by rung, then by linear probe on val images", title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "pretraining" else "right", no_wrap=name != "pretraining")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)
    sentences = answer(race)
    race.save(answer=" ".join(sentences))
    print_line(" ".join(sentences))
    names = {one.name: one.words for one in race.plan.candidates}
    bases = {_start(start, race): one for start, one in race.state.bases.items()}
    curves = {names[name]: results for name, results in race.state.results.items()}
    title = f"{len(curves)} candidates in {duration(race.state.seconds)}"
    log_figure(trainer, "race", race_figure(curves, bases, 1 / len(data.classes or [0]), title))
    log_table(trainer, "race", list(COLUMNS), [list(row) for row in rows])
    print_line(f"written: {folder}/  (advise.json, figures/race.png, RUNG/CANDIDATE/)")
    best = race.racing[0]
    typed = [word for word in race.plan.arguments(best) if not word.startswith("--config")]
    config = f"tasks/{best.method}.yaml" if best.config.parent == TASKS else str(best.config)
    longer = ["fit", "--config", config, *typed[1:]]
    print_line(f"next, {'pretrain longer:':<18} {command_line(*longer)}")
    for line in next_commands(longer, folder / f"rung{len(race.state.rungs)}" / best.name, race.build(best), data):
        print_line(line)


def table_rows(race: Race) -> list[list[str]]:
    """Rows of the table: candidates by the rung that they reached and their probe, then starts as they are."""
    results = race.state.results
    order = sorted(results, key=lambda name: (-len(results[name]), -results[name][-1].probe))
    rows = [_row(name, results[name][-1], race.state.speeds[name][1]) for name in order]
    return rows + [_row(f"none, {_start(start, race)}", one) for start, one in race.state.bases.items()]


def _row(name: str, one: Judged, pace: float = 0.0) -> list[str]:
    probe = f"{100 * one.probe:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"
    trained = [duration(one.seconds), str(one.steps), f"{pace:.2f}"] if one.steps else ["", "", ""]
    return [name, probe, f"{100 * one.knn:.1f}", *trained]


def answer(race: Race) -> list[str]:
    """Sentences: what to take, how sure that is, what more time would bring, and what was not tried."""
    state, folder, best = race.state, race.plan.folder, race.racing[0]
    done = state.results[best.name]
    won, base = done[-1], state.bases.get(best.start)
    found = [f"Take {best.words}: {said(won)}, after {duration(won.seconds)} of training."]
    if base:
        gain = apart(won, base, folder)
        start = "untrained" if best.weights is None else "before it"
        if gain.low > 0:
            found.append(f"That is {_points(gain)} points above the features {start}.")
        else:
            found = [
                f"No pretraining of this time is better than {_start(best.start, race)} as they are: {best.words} has "
                f"{said(won)}, {_points(gain)} points beside them; give it more time, or do without."
            ]
    found += _others(race, won, len(state.rungs))
    found += _more(done, folder)
    unknown = dict[str, list[str]]()
    for one in race.plan.candidates:
        if one.name in state.out:
            unknown.setdefault(state.out[one.name], []).append(one.name)
    for reason, names in unknown.items():
        found.append(f"Not tried: {_listed(names)} ({reason.rstrip('.')}).")
    found.append(
        "One seed each: intervals are over val images, and another seed may change a probe by some points; "
        f"`compare --weights` with --seeds tells. {won.protocol[:1].upper()}{won.protocol[1:]}."
    )
    return found


def _others(race: Race, won: Judged, last: int) -> list[str]:
    """A sentence on the candidates of the last rung beside the best."""
    rung = race.state.rungs[last - 1].results
    found = []
    for other in race.racing[1:]:
        gap = apart(won, rung[other.name], race.plan.folder)
        sure = "it is worse" if gap.distinguishable else "not distinguishable with these val images"
        found.append(
            f"Second is {other.words} with {100 * rung[other.name].probe:.1f} %, {_points(gap)} points: {sure}."
        )
    return found


def _more(done: list[Judged], folder: Path) -> list[str]:
    """A sentence on what the last increase of time has brought."""
    if len(done) < 2:
        return []
    before, after = done[-2:]
    gap = apart(after, before, folder)
    times = after.seconds / max(before.seconds, 1e-9)
    lead = f"{times:.1f} times the time brought {_points(gap)} points"
    if gap.low > 0:
        return [f"{lead}: longer training would bring more."]
    return [f"{lead}: whether longer training brings more is not known."]


def _points(gap: Estimate) -> str:
    return f"{100 * gap.value:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"


def _start(start: str, race: Race) -> str:
    return "random weights" if race.plan.starts[start] is None else f"the weights {start}"


def _listed(names: list[str]) -> str:
    return " and ".join([*[", ".join(names[:-1])] * (len(names) > 1), names[-1]])
