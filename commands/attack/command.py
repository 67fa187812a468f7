"""`python cli.py attack --ckpt_path RUN`: adversarial attacks on a trained task, and its robust accuracy."""

from pathlib import Path
from typing import Any

import torch

from callbacks.terminal import print_line
from commands.attack.methods import CURVES, METHODS, Attack, run_attack
from commands.attack.report import write_report
from commands.attack.victim import answer_of
from commands.checkpoints import run_of
from commands.evaluate import Trainer, idle_trainer
from commands.evaluate.features import set_up_samples
from commands.next_commands import command_line, typed_settings
from commands.overview import program
from commands.own_options import OwnOptions
from commands.predictor import parts_of
from datamodules.base import Split
from modules.contracts import ConfigError, DataError, check_range, writing
from modules.insight.attacks import parse_eps
from modules.insight.targets import class_index
from tasks import Classification, Task

SPLITS: tuple[Split, ...] = ("test", "val", "train")
"""Splits of the samples, the first of them that there is."""


class Options(OwnOptions):
    """The command's own options; the rest are settings of `test`."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} attack",
            f"{program()} attack --ckpt_path RUN [--method pgd] [--eps 8/255] [--target CLASS] [--SETTING VALUE ...]",
            "Changes the pixels of test images a little so that a trained task answers otherwise, and writes accuracy "
            "against the size of the change, with figures, as PNG, JSON and CSV.",
            f"Other options are settings of {program()} test, such as --data.root FOLDER.",
        )
        add = self.add_argument
        add("--ckpt_path", help="a .ckpt file or a run directory")
        add("--method", choices=METHODS, default="pgd", help="default pgd; " + ", ".join(METHODS))
        add("--eps", help="sizes of the change in pixels of 0..1, numbers or fractions, as 2/255,4/255,8/255")
        add(
            "--steps",
            type=int,
            help="gradient steps: 10 of pgd and pgd_l2, at most 50 of deepfool, 100 of fooling_image",
        )
        add("--step_size", help="of pgd and pgd_l2, default 2.5 eps / steps; of fooling_image, default 0.2")
        add("--target", metavar="CLASS", help="class to be answered, or random: another one for each image")
        add("--num_images", type=int, default=500, help="samples, evenly spread over the split; default 500")
        add("--out", type=Path, help="folder of the files; default attack/ in the run directory")
        add("--onnx", help="not for this command, which says why")


def attack(argv: list[str]) -> None:
    """Run the `attack` command with the arguments after its name.

    Raises:
        ConfigError: a setting that does not work, or a task without classes.
        DataError: no checkpoint, or no samples.
    """
    own, typed = Options().parse_known_args(argv)
    _check_file(own)
    plan = _plan(own)
    words = ["test", "--ckpt_path", own.ckpt_path, "--trainer.precision", "32", *typed]
    parts: Any = parts_of(words)
    task, data = parts.model, parts.datamodule
    kind = answer_of(task)
    if kind == "mask" and plan.method in ("deepfool", "fooling_image"):
        raise ConfigError(
            f"--method {plan.method} changes one answer for the whole image, but {type(task).__name__} answers by "
            f"pixel: use pgd, pgd_l2 or fgsm"
        )
    plan = plan._replace(target=_target(own.target, task), seed=data.seed)
    trainer = _ready(parts)
    split = next((split for split in SPLITS if data.has(split)), None)
    if split is None or not len(data.dataset(split, "evaluate")):
        raise DataError(f"{type(data).__name__} has no samples: point --data.root to some")
    folder = (own.out or run_of(parts.checkpoint) / "attack").expanduser()
    with writing(folder, "--out"):  # before the attack, which may take long
        folder.mkdir(parents=True, exist_ok=True)
    found = run_attack(trainer, task, split, own.num_images, plan)
    for line in write_report(folder, found, trainer.datamodule, task.classes, own.ckpt_path):
        print_line(line)
    print_line(f"next: {_next(own, typed, plan, task, parts.checkpoint)}")


def _check_file(own: Any) -> None:
    exported = own.onnx or (own.ckpt_path if str(own.ckpt_path).endswith((".onnx", ".pt2")) else None)
    if exported:
        raise ConfigError(
            f"attack needs gradients, which the exported file {exported} does not give: name the run that it was "
            f"exported from as --ckpt_path"
        )
    if not own.ckpt_path:
        raise ConfigError("attack needs weights: add --ckpt_path with a .ckpt file or a run directory")


def _plan(own: Any) -> Attack:
    """The attack as typed; its target follows from the classes.

    Raises:
        ConfigError: settings that do not work, or not together.
    """
    targets = {"deepfool": False, "fooling_image": True}.get(own.method)
    if own.target is not None and targets is False:
        raise ConfigError("--target does not go with --method deepfool, which takes the nearest class: use pgd_l2")
    if own.target is None and targets:
        raise ConfigError(
            "--method fooling_image needs the class to be answered: add --target CLASS, or --target random"
        )
    check_range("--num_images", own.num_images, 1)
    if own.steps is not None:
        check_range("--steps", own.steps, 1)
        if own.method == "fgsm":
            raise ConfigError("--steps does not go with --method fgsm, which is one step: use pgd")
    if own.step_size is not None and own.method in ("fgsm", "deepfool"):
        raise ConfigError(f"--step_size does not go with --method {own.method}: use pgd or pgd_l2")
    largest = 1.0 if own.method in ("fgsm", "pgd") else 1000.0
    size = None if own.step_size is None else parse_eps("--step_size", own.step_size, largest)
    words = CURVES[own.method] if own.eps is None else own.eps.strip("[]").split(",")
    eps = {parse_eps("--eps", word, largest): word.strip() for word in words}
    return Attack(own.method, dict(sorted(eps.items())), own.steps, size)


def _target(word: str | None, task: Task) -> int | str | None:
    """Index of the target class, or random."""
    classes = task.classes or []
    return word if word is None or (word == "random" and word not in classes) else class_index(word, classes)


def _ready(parts: Any) -> Trainer:
    """Set up data and task on their device."""
    given, data = parts.settings.trainer, parts.datamodule
    trainer = idle_trainer(given.accelerator, given.precision, parts.checkpoint)
    set_up_samples(data, parts.model)
    torch.set_float32_matmul_precision("highest")
    trainer.ready_to_predict(parts.model, data, parts.checkpoint)
    return trainer


def _next(own: Any, typed: list[str], plan: Attack, task: Task, checkpoint: Path) -> str:
    """The command that follows: training of the same run against the attack, or another attack."""
    if isinstance(task, Classification) and task.robust.method == "none":
        config = run_of(checkpoint) / "config.yaml"
        words = ["fit", "--config", str(config) if config.is_file() else "tasks/classification.yaml"]
        return command_line(*words, "--model.adversarial", "pgd", "--model.adversarial_eps", "8/255")
    method = "fgsm" if plan.method == "pgd" else "pgd"
    return command_line("attack", "--ckpt_path", own.ckpt_path, "--method", method, *typed_settings(typed))
