"""Findings of the steps of `tune --steps`: kept in steps.json."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from modules.contracts import DataError, writing


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
        self.command = ""
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

    def end(self, command: str) -> None:
        """Keep the command that took the steps."""
        self.command = command
        self._save()

    def _save(self) -> None:
        steps = {title: finding._asdict() for title, finding in self.found.items()}
        report = {"command": self.command, "settings": self.settings, "steps": steps}
        partial = self.path.with_suffix(".tmp")
        with writing(self.path):
            partial.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
            partial.replace(self.path)
