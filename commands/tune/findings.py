"""Findings of the steps of `tune --steps`: kept in steps.json, told in steps.md."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from modules.contracts import DataError, writing

MARKS = {True: "as it should be", False: "look at this", None: "for information"}


class Finding(NamedTuple):
    """Finding of a step.

    Args:
        said: in a sentence or two.
        values: the numbers behind it.
        good: whether it is as it should be; null where that cannot be said.
    """

    said: str
    values: dict[str, Any]
    good: bool | None = None


class Findings:
    """Findings so far of the steps in a run directory, which a repeated command goes on from.

    Args:
        folder: run directory.
        settings: flat configuration.
        completed: adds to an older configuration what it lacks.

    Raises:
        DataError: the folder has findings of another configuration, or damaged ones; names the setting or the file.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], completed: Callable[[Any], dict[str, Any]] = dict):
        self.path, self.settings = folder / "steps.json", json.loads(json.dumps(settings, default=str))
        self.found: dict[str, Finding] = {}
        if self.path.is_file():
            try:
                known = json.loads(self.path.read_text())
                before = completed(known["settings"])
                self.found = {name: Finding(**finding) for name, finding in known["steps"].items()}
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise DataError(f"{self.path} is damaged: choose another --run_dir") from error
            for key in sorted(before.keys() | self.settings.keys()):
                then, now = before.get(key), self.settings.get(key)
                if then != now:
                    raise DataError(
                        f"{folder} has the steps of {key} {then}, not {now}: type what was typed then, or choose "
                        "another --run_dir"
                    )
        self._save()

    def add(self, title: str, finding: Finding) -> None:
        """Keep a finding."""
        self.found[title] = finding
        self._save()

    def write_page(self, command: str, figures: list[str]) -> Path:
        """Write steps.md: a paragraph for each step, and the figures.

        Args:
            command: that walked the steps.
            figures: names of files in its folder `figures`.
        """
        lines = ["# Six steps", "", f"    {command}", ""]
        for number, (title, finding) in enumerate(self.found.items(), start=1):
            lines += [f"## {number}. {title} ({MARKS[finding.good]})", "", finding.said, ""]
        lines += [f"![{Path(name).stem}](figures/{name})" for name in figures]
        return self._replace(self.path.with_name("steps.md"), "\n".join(lines))

    def _save(self) -> None:
        steps = {title: finding._asdict() for title, finding in self.found.items()}
        self._replace(self.path, json.dumps({"settings": self.settings, "steps": steps}, indent=2))

    @staticmethod
    def _replace(path: Path, text: str) -> Path:
        partial = path.with_suffix(".tmp")
        with writing(path):
            partial.write_text(text + "\n", encoding="utf-8")
            partial.replace(path)
        return path
