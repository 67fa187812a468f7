"""`python cli.py` alone shows one screen: commands, and every task with a line."""

import subprocess
import sys

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
    assert len(screen) <= 45 and max(map(len, screen)) <= 80
    words = [line.split()[0] for line in screen if line.startswith("  ")]
    assert words == [*commands.overview.COMMANDS, *(path.stem for path in sorted((ROOT / "tasks").glob("*.yaml")))]
