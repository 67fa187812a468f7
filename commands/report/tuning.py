"""Report of a hyperparameter search, and of the six steps."""

from pathlib import Path
from typing import Any

from callbacks.results.number_format import number
from commands.next_commands import command_line
from commands.page import Code, Section, Table
from commands.report.reading import configuration, csv_table, facts, figures, read_json

MARKS = {True: "as it should be", False: "look at this", None: "for information"}


def search_report(folder: Path) -> tuple[str, str, list[Section]]:
    """Title, verdict and sections of a search's page."""
    report = read_json(folder / "tune.json")
    trials = csv_table(folder / "trials.csv")
    results = Section("Trials", [trials] if trials else [], lines=[_counted(report)])
    best = report["best trial"]
    run = folder / "trials" / f"{best:03}" if best is not None else folder
    sections = [
        results,
        _confirmation(report),
        figures(folder),
        Section("Space", [_space(report["space"])]),
        _reproduce(folder, report),
        configuration(folder, "best.yaml"),
    ]
    if (run / "results.json").is_file():
        sections.append(facts(read_json(run / "results.json")))
    return f"{'/'.join(folder.resolve().parts[-2:])}: tune", report["verdict"] or "no trial is finished yet", sections


def steps_report(folder: Path) -> tuple[str, str, list[Section]]:
    """Title, last finding and a section for each of the six steps."""
    report = read_json(folder / "steps.json")
    steps = report["steps"]
    sections = [
        Section(f"{place}. {title} ({MARKS[step['good']]})", lines=[step["said"]])
        for place, (title, step) in enumerate(steps.items(), 1)
    ]
    sections += [figures(folder), _reproduce(folder, report), configuration(folder, "best.yaml")]
    said = list(steps.values())[-1]["said"] if steps else "no step is done yet"
    return f"{'/'.join(folder.resolve().parts[-2:])}: tune --steps", said, sections


def _counted(report: dict[str, Any]) -> str:
    states = [trial["state"] for trial in report["trials"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    better = "higher" if report["mode"] == "max" else "lower"
    minutes = report["seconds"] / 60
    return f"{counts}; sampler {report['sampler']}, by {report['metric']} ({better} is better), {minutes:.1f} minutes."


def _confirmation(report: dict[str, Any]) -> Section:
    """Values of the best trial and the default on fresh seeds."""
    section, found = Section("Best against default, on fresh seeds"), report.get("confirmation")
    if found:
        gap = found["difference"]
        section.lines.append(f"{found['metric']}: {found['protocol']}")
        section.lines.append(
            f"Difference {gap['mean']:+.4f}, 95 % interval [{gap['low']:+.4f}, {gap['high']:+.4f}] (Student's t, "
            f"paired by {gap['seeds']} seeds)."
        )
        rows = [[f"trial {found['trial']}", *map(number, found["best"])], ["default", *map(number, found["default"])]]
        section.tables.append(Table(["", *(f"run {n}" for n, _ in enumerate(found["best"], 1))], rows))
    return section


def _space(space: dict[str, Any]) -> Table:
    def words(values: Any) -> str:
        if not isinstance(values, dict):
            return ", ".join(map(str, values))
        more = [name for name in ("log", "int") if values.get(name)] + [f"step {s}" for s in [values.get("step")] if s]
        return f"{values['low']} to {values['high']}" + (f" ({', '.join(more)})" if more else "")

    return Table(["setting", "values"], [[name, words(values)] for name, values in space.items()])


def _reproduce(folder: Path, report: dict[str, Any]) -> Section:
    section = Section("To reproduce")
    if report.get("command"):
        section.lines.append("The command as typed; with --run_dir it goes on in the same folder:")
        section.code.append(Code(report["command"]))
    if (folder / "best.yaml").is_file():
        section.code.append(Code(command_line("fit", "--config", str(folder / "best.yaml"))))
    return section
