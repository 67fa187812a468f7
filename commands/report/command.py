"""`python cli.py report --run_dir RUN`: a finished run, comparison or search as one HTML file."""

from pathlib import Path

from callbacks.terminal import print_line
from commands.overview import program
from commands.own_options import OwnOptions
from commands.page import html_page
from commands.report.comparison import comparison_report
from commands.report.reading import filled, find_run
from commands.report.run import run_report
from commands.report.tuning import search_report, steps_report
from modules.contracts import ConfigError, DataError, from_here, writing

REPORTS = {
    "results.json": run_report,
    "compare.json": comparison_report,
    "tune.json": search_report,
    "steps.json": steps_report,
}
NAME = "report.html"


class Parser(OwnOptions):
    """The command's own options."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} report",
            f"{program()} report --run_dir RUN [--out FILE]",
            "Writes what a run has found as one HTML file that needs no network and no other file: results with "
            "intervals, figures, protocol, configuration, commands to reproduce it, versions.",
            "RUN is what fit, validate, test, evaluate, compare or tune left, or a folder of runs for its latest.",
        )
        self.add_argument("--run_dir", type=Path, required=True, help="run directory")
        self.add_argument("--out", type=Path, help=f"the file; default {NAME} in the run directory")


def report(argv: list[str]) -> None:
    """Run the `report` command with the arguments after its name.

    Raises:
        ConfigError: no such option, or a page that is called as files of other kinds are.
        DataError: no finished run there, or damaged files of it.
    """
    typed = Parser().parse_args(argv)
    if typed.out and typed.out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--out is {typed.out}, but names a page: give it the suffix .html")
    folder, kind = find_run(typed.run_dir.expanduser())
    path = write_report(folder, kind, typed.out and typed.out.expanduser(), "--out")
    print_line(f"written: {from_here(path)} ({path.stat().st_size / 1e6:.1f} MB)")


def write_report(folder: Path, kind: str, path: Path | None = None, option: str = "--run_dir") -> Path:
    """Write the page of a run; returns its path.

    Args:
        folder: run directory.
        kind: the file that says what it is of, a key of `REPORTS`.
        path: the page; null for report.html in the folder.
        option: of the command, which names another place.

    Raises:
        DataError: files of the run are damaged, or the page cannot be written.
    """
    try:
        title, verdict, sections = REPORTS[kind](folder)
        page = html_page(title, verdict, list(filled(sections)))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise DataError(f"{folder / kind} is not as this version leaves it ({said}): run the command again") from error
    path = path or folder / NAME
    partial = path.with_name(f".{path.name}")
    with writing(path, option):
        try:
            partial.write_text(page, encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return path
