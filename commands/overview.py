"""The screen of `python cli.py` and `python cli.py --help`: commands, tasks, and pretraining methods of `tasks/`."""

import shlex
import shutil
import sys
import textwrap
from pathlib import Path

COMMANDS = {
    "fit": "train, then test the best weights",
    "validate": "score a checkpoint on the val split",
    "test": "score a checkpoint on the test split",
    "predict": "write predictions for a folder of files",
    "evaluate": "kNN, linear probes and robustness of a backbone's features",
    "features": "what layers and channels have learned",
    "inspect": "where memory and time go, gradients and curvature by layer",
    "attack": "fool a run by small changes of pixels; its robust accuracy",
    "explain": "maps of what predictions depend on, and how faithful they are",
    "export": "write a trained task as one ONNX or torch.export file",
    "compare": "train one task with several initializations or settings",
    "tune": "search for better settings of one task",
    "advise": "race pretraining methods on your data: which one to take",
    "report": "write a finished run as one HTML file",
    "push": "put a trained backbone on the Hugging Face hub",
    "check": "look for mistakes, duplicates and leaks in data; --fix cleans it",
    "serve": "answer requests for predictions over HTTP",
    "demo": "open a page on which a run is tried",
    "stylize": "give an image the style of others",
    "dream": "let a layer see more of what it sees in an image",
    "backbones": "list and describe what --model.backbone takes",
}

PRETRAINING = "Pretraining: "
"""Beginning of the first line of the YAMLs of pretraining methods."""


def program() -> str:
    """This program as typed, for a shell: `graft`, or `python` with the path of cli.py."""
    typed = sys.argv[0]
    if Path(typed).name == "graft":
        return "graft" if shutil.which("graft") == typed else shlex.quote(typed)
    return f"python {shlex.quote(typed) if Path(typed).name == 'cli.py' else 'cli.py'}"


def usage(command: str) -> str:
    """First line of the help of a command that takes the settings of `fit`."""
    needed = {"evaluate": "--ckpt_path RUN", "explain": "--ckpt_path RUN | --onnx FILE"}
    return f"{program()} {command} {needed.get(command, '--config tasks/NAME.yaml')} [--SETTING VALUE ...]"


def overview() -> str:
    """The whole screen, at most 80 columns wide."""
    start = f"{program()} fit --config tasks/simclr.yaml"
    files = {file.stem: summary(file) for file in sorted((Path(__file__).parents[1] / "tasks").glob("*.yaml"))}
    methods = ", ".join(name for name, words in files.items() if words.startswith(PRETRAINING))
    return "\n".join(
        [
            "Graft: pretrain one backbone, graft it onto any task.",
            "",
            f"usage: {program()} COMMAND --config tasks/NAME.yaml [--SETTING VALUE ...]",
            "",
            "commands:",
            *(_line(name, words, 9) for name, words in COMMANDS.items()),
            "",
            "tasks:",
            *(_line(name, words, 25) for name, words in files.items() if not words.startswith(PRETRAINING)),
            "",
            "pretraining of the backbone for all of them (docs/pretraining.md):",
            *textwrap.wrap(methods, 80, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False),
            "",
            f"start here:    {start}",
            f"all settings:  {start} --help",
        ]
    )


def summary(file: Path) -> str:
    """First comment line of a YAML file, without its period."""
    with file.open(encoding="utf-8") as lines:
        return next(lines).lstrip("# ").rstrip(".\n")


def _line(name: str, words: str, column: int) -> str:
    return f"  {name:<{column}}  {words}"
