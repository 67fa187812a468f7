"""Early checks of the command line, without the parser's slow imports: commands, files, top-level options."""

import errno
import os
import re
import signal
import sys
from argparse import Namespace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from commands.aliases import MEANT, OF_TASKS
from commands.answers import report
from commands.arguments import (
    ROOT,
    TRAINER_COMMANDS,
    find_config,
    is_yaml_text,
    normalized,
    parse_known,
    run_name,
)
from commands.checkpoints import check_weights, find_checkpoint
from commands.overview import COMMANDS, overview, program
from modules.contracts import ConfigError, DataError, suggest
from modules.contracts.repositories import HUB, check_repository

COMMON = (
    "config",
    "print_config",
    "help",
    "seed_everything",
    "run_dir",
    "tensorboard",
    "mlflow",
    "ckpt_path",
    "early_stopping",
    "find_lr",
)
SECTIONS = ("trainer", "model", "data", "checkpoint", "figures", "predictions", "wandb")
OWN = {
    "evaluate": "num_neighbors distance vote ties temperature label_fractions sgd_epochs sgd_lr num_images "
    "projection".split(),
    "explain": "method target count layer patch stride masks depths onnx".split(),
    "compare": ("weights", "vary", "seeds", "folds"),
    "tune": ("space", "steps", "print_space", "wandb", "trials", "budget", "sampler", "seeds"),
    "advise": ("budget", "methods", "weights", "grid"),
    "report": ("out",),
    "push": ("repo", "license", "private", "dry_run", "out"),
    "check": ("fix",),
    "features": "layer channels classes direction generator basis decorrelate steps lr jitter blur variation "
    "num_patches num_images".split(),
    "inspect": ("lanczos_steps",),
    "test": ("onnx",),
    "predict": ("onnx",),
    "export": ("format", "out", "half", "quantize", "features", "images", "data_license"),
    "attack": "method eps steps step_size target num_images out onnx".split(),
    "demo": ("host", "port"),
    "dream": "image layer channel size octaves octave_scale steps lr jitter film zoom fps out".split(),
    "stylize": (
        *"content style style_weights size style_size steps optimizer lr style_weight content_weight tv_weight".split(),
        *"style_levels content_level color init out".split(),
    ),
    "serve": "onnx host port token workers timeout max_bytes max_pixels max_requests batch_size batch_timeout".split(),
}
"""Top-level options of some commands; `backbones` checks its own."""


def check_early(argv: list[str]) -> None:
    """Refuse mistakes that show without a parser.

    Raises:
        ConfigError: no such command or top-level option, a missing YAML, or no weights where a command needs them.
        DataError: no such checkpoint.
    """
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ConfigError("the working directory was deleted: change to one that exists, such as `cd ~`") from error
    for before, word in zip(["", *argv], argv, strict=False):
        shown = word.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        if shown != word:
            option = f"{before} " if before.startswith("--") else ""
            raise ConfigError(f"{option}{shown} is not in UTF-8, in which names are written: rename it")
    command = argv[0] if argv else ""
    if command not in COMMANDS:
        raise ConfigError(no_command(command if not command.startswith("-") else ""))
    if command == "backbones" or any(word == "-h" or re.match(r"--([\w.+-]+\.)?help(=|$)", word) for word in argv):
        return
    for name in re.findall(r"^--([\w.-]+)", "\n".join(argv), flags=re.MULTILINE):
        section = name.partition(".")[0]
        known = (*COMMON, *SECTIONS, *OWN.get(command, ()))
        if section not in known:
            raise ConfigError(f"there is no option --{name}{hint(name, known)}")
    typed = parse_known(argv)
    for config in typed.config:
        if is_yaml_text(config):
            continue
        check_path("config", config)
        if not Path(find_config(config)).expanduser().is_file():
            raise ConfigError(missing_file(config))
    if (typed.weights or "").startswith(HUB):
        check_repository(typed.weights.removeprefix(HUB).partition("@")[0], f"--model.weights {HUB}")
    paths = {"ckpt_path": typed.ckpt_path, "onnx": typed.onnx, "run_dir": typed.run_dir}
    for name, path in (paths | {"model.weights": typed.weights, "data.root": typed.root}).items():
        if path is not None:
            check_path(name, path)
    if command in TRAINER_COMMANDS and "--print_config" not in argv:
        if typed.onnx and typed.ckpt_path:
            raise ConfigError("--onnx stands in place of --ckpt_path: leave one of them out")
        if typed.ckpt_path not in (None, "auto"):
            find_checkpoint(typed.ckpt_path, run_name(argv), resume=command == "fit")
        elif not (typed.ckpt_path or typed.onnx) and (typed.config or typed.model):
            check_weights(argv, run_name(argv))
        _check_task(command, typed)


def check_path(name: str, path: str) -> None:
    """Refuse a path that no file can have: an empty one (an unset variable of the shell), no such user, too long.

    Args:
        name: of its option.
        path: as typed.

    Raises:
        ConfigError: names the option.
    """
    if not path:
        raise ConfigError(f"--{name} is empty: give it a value, or leave it out")
    try:
        Path(path).expanduser().stat()
    except RuntimeError as error:  # of `expanduser`
        user = path.partition("/")[0]
        raise ConfigError(f"--{name} is {path}, but there is no user {user.lstrip('~')} here") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ConfigError(f"--{name} is {path[:30]}..., which is too long for the name of a file") from error


def _check_task(command: str, typed: Namespace) -> None:
    """Refuse a command without task or data; outside of fit a checkpoint has both."""
    remedy = "add --config tasks/NAME.yaml, such as tasks/classification.yaml"
    if typed.config or (command != "fit" and (typed.ckpt_path or typed.onnx)):
        return
    missing = [f"--{name}" for name in ("model", "data") if not getattr(typed, name)]
    if len(missing) == 1:
        raise ConfigError(f"{command} needs {missing[0]} too: add it with the name of a class, or {remedy}")
    if missing and command == "fit":
        raise ConfigError(f"fit needs a task and its data: {remedy}, or --model and --data")
    if missing:
        raise ConfigError(
            f"{command} needs trained weights: add --ckpt_path with a .ckpt file or a run directory; for the latest "
            f"run of a task, --config tasks/NAME.yaml --ckpt_path latest"
        )


def exit_early(argv: list[str]) -> None:
    """End the program with the overview where nothing is asked for, or with a sentence where `check_early` refuses."""
    if not argv or argv[0] in ("-h", "--help"):
        print(overview())
        sys.exit()
    try:
        check_early(normalized([word for word in argv if word != "--debug"]))
    except (ConfigError, DataError) as error:
        sys.exit(report(error))


def end_imports_by_signals() -> None:
    """Answer SIGTERM and Ctrl-C with a sentence while the program is still being imported."""

    def end(number: int, frame: Any) -> NoReturn:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(nothing_saved(sys.argv[1:]), flush=True)
        os._exit(128 + number)  # as the shell counts; an exception may be caught in an import

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def nothing_saved(argv: list[str]) -> str:
    """A sentence for a command that a signal ended while it had nothing to save."""
    if argv[:1] in (["fit"], ["compare"], ["tune"]):
        return "stopped before the first step; nothing to save: type the same command again"
    if argv[:1] in (["serve"], ["demo"]):
        return "stopped"
    other = ", with another --run_dir" if parse_known(argv).run_dir else ""
    return f"stopped before the end; nothing to save: type it again{other}"


def hint(name: str, known: tuple[str, ...]) -> str:
    """A "did you mean" for an option that does not exist: by alias, by spelling, else the sections of options."""
    section, _, rest = name.partition(".")
    near = get_close_matches(section, known, n=1, cutoff=0.7)
    if rest and near:
        return f"; did you mean {f'--{near[0]}.{rest}'!r}?"
    if meant := MEANT.get(name.rpartition(".")[2].replace("-", "_").lower()):
        tasks = OF_TASKS.get(meant.partition(" ")[0])
        return f": it is --{meant} here" + (f", of {tasks}" if tasks else "")
    if near:
        return f"; did you mean {f'--{near[0]}'!r}?"
    return ": settings of the task begin with --model., of the data with --data., of the training with --trainer."


def no_command(word: str) -> str:
    """Sentence for a first word that is no command."""
    if not word:
        return f"say what to do: {program()} {'|'.join(COMMANDS)} --config tasks/TASK.yaml"
    return f"there is no command {word!r}: choose from {', '.join(COMMANDS)}{suggest(word, list(COMMANDS))}"


def missing_file(path: str) -> str:
    """Sentence for a --config that is no file, with the closest names of YAMLs."""
    if Path(find_config(path)).expanduser().is_dir():
        return f"--config {path} is a folder: name a YAML file, such as tasks/classification.yaml"
    found = Path(find_config(path)).expanduser()
    if found.is_symlink():
        return f"--config {path} is a link that leads to no file: name the YAML file itself"
    if found.exists():
        return f"--config {path} is no regular file, but a pipe or a device: write the settings into a YAML file"
    folder = Path(path).expanduser().parent
    folder = folder if folder.is_dir() else ROOT / folder
    files = [p.name for p in folder.iterdir() if p.suffix in (".yaml", ".yml")] if folder.is_dir() else []
    return f"there is no file {path}{suggest(Path(path).name, files)}"
