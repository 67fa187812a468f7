"""`python cli.py` alone shows one screen: commands, tasks, pretraining methods."""

import importlib
import subprocess
import sys
import tomllib

import pytest

import commands.overview
from tests.helpers.commands import ROOT


@pytest.mark.parametrize("typed", [[], ["--help"]])
def test_one_screen_of_commands_and_tasks_without_the_libraries_of_training(typed):
    script = f"import runpy, sys; sys.argv = ['cli.py', *{typed}]\ntry: runpy.run_path('cli.py', run_name='__main__')\n"
    script += "finally: print(sorted({'lightning', 'timm', 'torchvision'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")
    *screen, imported = run.stdout.splitlines()
    assert imported == "[]"
    assert len(screen) <= 64 and max(map(len, screen)) <= 80
    place = next(i for i, line in enumerate(screen) if line.startswith("pretraining"))
    firsts = [line.split()[0] for line in screen[:place] if line.startswith("  ")]
    methods = [name.strip() for name in " ".join(line for line in screen[place:] if line.startswith("  ")).split(",")]
    yamls = {path.stem: commands.overview.summary(path) for path in sorted((ROOT / "tasks").glob("*.yaml"))}
    assert methods == [name for name, words in yamls.items() if words.startswith("Pretraining: ")]
    assert firsts == [*commands.overview.COMMANDS, *(name for name in yamls if name not in methods)]


def test_the_program_is_printed_as_it_was_typed(monkeypatch, tmp_path):
    script = tmp_path / "graft"
    script.touch(mode=0o755)
    for typed, printed in [("cli.py", "python cli.py"), ("../my code/cli.py", "python '../my code/cli.py'")]:
        monkeypatch.setattr("sys.argv", [typed])
        assert commands.overview.program() == printed
    monkeypatch.setattr("sys.argv", [str(script)])
    assert commands.overview.program() == str(script)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commands.overview.program() == "graft"


def test_the_installed_program_works_in_any_folder(tmp_path):
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["graft"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    start = f"import sys\nsys.path.append({str(ROOT)!r})\nimport {module}\n{module}.{function}()\n"
    (tmp_path / "graft").write_text(start)
    typed = ["fit", "--config", "tasks/simclr.yaml", "--lr", "1"]
    run = subprocess.run([sys.executable, "graft", *typed], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 2 and "--model.optim.lr" in run.stderr  # and not the file
