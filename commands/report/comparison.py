"""Report of a comparison."""

from pathlib import Path
from typing import Any

from callbacks.results.number_format import number, or_nan
from commands.page import Code, Section, Table
from commands.report.reading import configuration, facts, figures, read_json


def comparison_report(folder: Path) -> tuple[str, str, list[Section]]:
    """Title, first verdict and sections of a comparison's page."""
    report = read_json(folder / "compare.json")
    first, *others = report["verdicts"] or [f"{report['metric']} of {len(report['variants'])} variants"]
    results = Section("Results", [_table(report, report["metric"])], lines=[*others, *_intervals(report)])
    metrics = dict.fromkeys(row["metric"] for row in report["comparison"])
    rest = Section("Other metrics", folded=True)
    for metric in metrics:
        if metric != report["metric"]:
            rest.tables.append(_table(report, metric))
    curves = [f"{name}: {text}" for name, text in report.get("learning curves", {}).items()]
    made = report["runs"][0]["folder"] if report["runs"] else ""
    sections = [
        results,
        Section("Protocol", lines=[f"{report['metric']}: {report['protocol']}"]),
        figures(folder),
        Section("Learning curves", lines=curves),
        rest,
        Section("Settings that vary", [_settings(report)]),
        Section("Runs", [_runs(report)], folded=True),
        _reproduce(folder, report),
        configuration(folder, f"{made}/config.yaml"),
    ]
    if (folder / made / "results.json").is_file():
        sections.append(facts(read_json(folder / made / "results.json")))
    return f"{'/'.join(folder.resolve().parts[-2:])}: compare", first, sections


def _table(report: dict[str, Any], metric: str) -> Table:
    """A line for each variant: mean and difference with their intervals."""
    rows = [row for row in report["comparison"] if row["metric"] == metric]
    columns = {
        metric: [_cell(row["mean"], row["low"], row["high"]) for row in rows],
        "difference": [_cell(row["difference"], row["difference_low"], row["difference_high"], "+.4f") for row in rows],
        "compared with": [row["reference"] or "" for row in rows],
        "standard deviation": [_cell(row["standard_deviation"]) for row in rows],
        "runs": [str(row["runs"]) for row in rows],
    }
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    names = [row["variant"] for row in rows]
    return Table(["variant", *columns], [list(line) for line in zip(names, *columns.values(), strict=True)])


def _cell(value: float | None, low: float | None = None, high: float | None = None, form: str = ".4f") -> str:
    if value is None:
        return ""
    return number(value, form) + ("" if low is None or high is None else f"\n[{low:{form}}, {high:{form}}]")


def _intervals(report: dict[str, Any]) -> list[str]:
    """A sentence on the intervals, as docs/compare.md explains them."""
    items = sorted({row["items"] for row in report["comparison"] if row.get("items")})
    seeds = max((row["runs"] for row in report["comparison"]), default=0)
    over = [f"{seeds} runs of each variant" if seeds > 1 else "", f"{items[-1]:,} test items" if items else ""]
    over = [text for text in over if text]
    return [f"In brackets the 95 % interval, over {' and '.join(over)}."] if over else []


def _settings(report: dict[str, Any]) -> Table:
    variants = {name: variant["settings"] for name, variant in report["variants"].items()}
    names = list(dict.fromkeys(name for settings in variants.values() for name in settings))
    rows = [[name, *(settings.get(key) or "none" for key in names)] for name, settings in variants.items()]
    return Table(["variant", *names], rows)


def _runs(report: dict[str, Any]) -> Table:
    metric = report["metric"]
    rows = [
        [
            run["folder"],
            number(or_nan(run["results"].get(metric))),
            str(run["epochs"]),
            "" if run["seconds"] is None else f"{run['seconds']:.0f}",
        ]
        for run in report["runs"]
    ]
    return Table(["run", metric, "epochs", "seconds"], rows)


def _reproduce(folder: Path, report: dict[str, Any]) -> Section:
    words = f"Every run has its own config.yaml, results.json and checkpoints below {folder}."
    section = Section("To reproduce", lines=[words])
    if report.get("command"):
        section.lines.append("The command as typed; with --run_dir it goes on in the same folder:")
        section.code.append(Code(report["command"]))
    return section
