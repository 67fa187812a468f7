"""Graft's command line: `python cli.py fit|validate|test|predict|evaluate|compare --config tasks/TASK.yaml`.

`python cli.py` alone shows all commands and tasks; installed, the program is `graft` as well.
"""

import gc
import sys
from typing import NoReturn

try:
    from commands.early_checks import end_imports_by_signals, exit_early
    from commands.export.predict import quick
    from commands.output import keep_output
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] in ("callbacks", "commands", "datamodules", "modules", "tasks"):
        raise
    print(f"error: {missing.name} is not installed: pip install -c constraints.txt -e .", file=sys.stderr)
    sys.exit(2)


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 1 is for data and files, 2 for settings."""
    if (code := quick(sys.argv[1:] if argv is None else argv)) is not None:
        return code
    from commands.main import main  # with torch, Lightning and timm, which take seconds

    return main(argv)


def run() -> NoReturn:
    """Run the command of this process."""
    keep_output()
    exit_early(sys.argv[1:])  # a typo need not wait for the imports
    end_imports_by_signals()
    if (code := quick(sys.argv[1:], alone=True)) is not None:
        sys.exit(code)
    gc.disable()  # what is imported stays: looking through it for garbage takes a fifth of the time of a start
    import commands.main  # noqa: F401

    gc.freeze()
    gc.enable()
    sys.exit(main())


if __name__ == "__main__":
    run()
