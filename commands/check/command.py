"""`python cli.py check --data NAME [--fix OUT]`: all checks of a data module without training, as a page."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from callbacks.run_directory import RunDirectory, claimed, new_path
from callbacks.terminal import print_line
from commands.check.build import parse, prepared
from commands.check.copies import Copy
from commands.check.fix import fix
from commands.check.page import text_page
from commands.check.sections import Checked, check_all
from commands.overview import program
from commands.own_options import OwnOptions
from commands.page import Finding, Section, html_page
from modules.contracts import ConfigError, DataError, writing

COLUMNS = ("kind", "similarity", "split", "file", "class", "other_split", "other_file", "other_class")
MOST_PAIRS = 100_000  # rows of duplicates.csv


class Options(OwnOptions):
    """The command's own options."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} check",
            f"{program()} check [--config tasks/NAME.yaml] --data NAME [--data.SETTING VALUE ...] [--fix OUT]",
            "Checks data without training: splits and classes, broken and odd files, annotations, duplicates, leaks "
            "between splits. Prints a page, and writes it with its figures to report.html in the run directory. Exit "
            "code 1 if something stops training or makes its metrics wrong, else 0.",
            f"Settings of the data are those of `fit`: {program()} fit --data.help NAME lists them.",
        )
        self.add_argument("-c", "--config", action="append", default=[], help="YAML, of which `data` is taken")
        self.add_argument(
            "--fix",
            metavar="OUT",
            help="write a cleaned copy of the folder of links: without broken files, without training files that occur "
            "in val or test, or twice; the original stays as it is",
        )
        self.add_argument("--run_dir", help="output folder; default runs/check/TIME")


def check(argv: list[str]) -> None:
    """Run the `check` command with the arguments after its name.

    Raises:
        ConfigError: a setting that does not exist, or has a value that it does not take.
        DataError: the data cannot be read at all; or something is wrong with it, after the page.
    """
    own, typed = Options().parse_known_args(argv)
    folder, fresh = (Path(own.run_dir), False) if own.run_dir else (new_path("check"), True)
    directory = RunDirectory(folder, lambda: None, fresh=fresh)
    settings = parse(own.config, typed)
    if own.fix == "":
        raise ConfigError("--fix is empty: name a folder for the cleaned copy, or leave it out")
    out = Path(own.fix).expanduser() if own.fix else None
    if out:
        _check_place(out, settings, directory.path)
    with claimed(directory):
        data, refused, ready = prepared(settings)
        title = f"Check of {type(data).__name__}{_place(settings)}"
        found = check_all(data, refused, ready)
        if out:
            found.sections.append(fix(data, found, settings, out))
        verdict = _verdict(found.sections)
        text, page = (write(title, verdict, found.sections) for write in (text_page, html_page))
        _write(directory.path, text, page, found)
        directory.point_latest()
        print(text)
        print_line(f"written: {directory.path / 'report.html'}")
    if wrong := [finding for section in found.sections for finding in section.findings if finding.wrong]:
        raise DataError(_summary(wrong))


def _check_place(out: Path, settings: Namespace, run: Path) -> None:
    """Refuse a folder for the copy that holds something, lies in the data, or would hold the run directory.

    Raises:
        ConfigError: it does.
        DataError: it cannot be made.
    """
    place = settings.data.init_args.get("root")
    root = Path(place).expanduser().resolve() if place else None
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--fix {out} holds something already: name a folder that does not exist")
    if root is not None and out.resolve().is_relative_to(root):
        raise ConfigError(f"--fix {out} lies in data.root {root}: name a folder outside of it")
    if run.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"--fix {out} would hold the run directory {run} too: name another folder")
    place = next(folder for folder in (out, *out.absolute().parents) if folder.exists() or folder.is_symlink())
    if not (place.is_dir() and os.access(place, os.W_OK)):
        raise DataError(f"--fix {out} cannot be written, because {place} is no folder that takes files: name another")


def _verdict(sections: Sequence[Section]) -> str:
    found = [finding for section in sections for finding in section.findings]
    wrong = sum(finding.wrong for finding in found)
    if wrong:
        return f"{wrong} wrong, {len(found) - wrong} to note: training on this stops, or its metrics mislead"
    return f"nothing wrong, {len(found)} to note" if found else "nothing wrong"


def _summary(wrong: Sequence[Finding]) -> str:
    more = f" (and {len(wrong) - 1} more, see the page)" if len(wrong) > 1 else ""
    return f"{wrong[0].text}{more}"


def _place(settings: Namespace) -> str:
    args = settings.data.init_args
    place = args.get("root") or args.get("source")
    return f" {place}" if place else ""


def _write(folder: Path, text: str, page: str, found: Checked) -> None:
    with writing(folder):
        (folder / "report.txt").write_text(text, encoding="utf-8")
        (folder / "report.html").write_text(page, encoding="utf-8")
        if found.copies:
            with (folder / "duplicates.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
                table = csv.writer(file)
                table.writerow(COLUMNS)
                table.writerows(_row(copy, found.classes) for copy in found.copies[:MOST_PAIRS])


def _row(copy: Copy, classes: list[str] | None) -> list[str]:
    def cells(item) -> list[str]:
        return [item.split, item.name, classes[item.label] if classes and item.label is not None else ""]

    return [copy.kind, f"{copy.similarity:.4f}", *cells(copy.first), *cells(copy.second)]
