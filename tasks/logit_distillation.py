"""Distillation of logits: a classification learns from the softened answers of a trained one beside its labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from modules.backbones.size import check_stride, size_error, zeros
from modules.contracts import ConfigError, check_range, naming
from modules.losses.distillation import soft_targets
from modules.training.checkpoint_file import read_checkpoint, run_file
from modules.training.fingerprint import fingerprint


@dataclass(frozen=True)
class Distill:
    """Distillation of logits (Hinton et al. 2015): learn from the probabilities of a trained classification too.

    In training alone, and of the very images that the student gets: augmented, and mixed or attacked where that is on.

    Args:
        teacher: its run directory or .ckpt; it knows all classes, by name, and more if need be. Null is off.
        temperature: divides the logits of both, > 0; higher shows more of the teacher's small probabilities.
        weight: of the divergence from the teacher, times the squared temperature, beside the loss of the labels.

    Raises:
        ConfigError: a value out of range.
    """

    teacher: str | None = None
    temperature: float = 4.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_range("model.distill.temperature", self.temperature, 1e-6)
        check_range("model.distill.weight", self.weight)


class LogitTeacher:
    """Teacher of a classification, in evaluation mode without gradients; read at its first use, and saved nowhere.

    It answers the images of the batch as the student gets them, augmented and mixed.

    Args:
        distill: settings, with a teacher.
    """

    def __init__(self, distill: Distill):
        self.distill, self.source = distill, distill.teacher or ""
        self.loaded: Any = None
        self.hash = ""  # of its weights, once they are loaded
        self.places: list[int] = []

    def load(self, task: Any) -> Any:
        """The teacher of a task, which is read now if it is not yet.

        Raises:
            DataError: no checkpoint.
            ConfigError: it is no classification, lacks a class, takes images of other channels, or is the very run that
                the student begins with.
        """
        if self.loaded is None:
            with naming("model.distill.teacher"):
                self.loaded = self._read(task)
            self.hash = fingerprint(self.loaded.state_dict())
            self.places = [self.loaded.classes.index(name) for name in task.classes]
        return self.loaded

    def loss(self, task: Any, logits: Tensor, image: Tensor) -> Tensor:
        """Divergence of logits (B, C) from the teacher's for images (B, 3, H, W) normalized for the task's backbone."""
        teacher = self.load(task).to(image.device, image.dtype)
        with torch.no_grad():
            answers = teacher(teacher.backbone.standardize(task.backbone.restore(image)))[:, self.places]
        return soft_targets(logits, answers, self.distill.temperature)

    def check_side(self, task: Any, side: int, option: str) -> None:
        """Check the side of images, in pixels, that an option sets.

        Raises:
            ConfigError: the teacher does not take them.
        """
        backbone = self.load(task).backbone
        check_stride(backbone, side, option)
        remedy = ", or take another model.distill.teacher"
        if sentence := size_error(backbone, zeros(backbone, 1, side, side), ValueError("it fails"), remedy, option):
            raise sentence

    def _read(self, task: Any) -> Any:
        run, kind = self.source, type(task)
        path = run_file(run)
        if (other := read_checkpoint(path, mapped=True).get("task")) != kind.__name__:
            raise ConfigError(f"model.distill.teacher {run} is of {other}, but must be of {kind.__name__}")
        with torch.random.fork_rng(devices=[]):
            teacher = kind.load_from_checkpoint(path, map_location="cpu").eval().requires_grad_(False)
        if lacking := [name for name in task.classes if name not in teacher.classes]:
            raise ConfigError(
                f"model.distill.teacher {run} lacks {len(lacking)} of the classes, such as {lacking[0]}: take a "
                "teacher of these classes"
            )
        begins = task.weights and Path(task.weights).expanduser().resolve()
        if begins in (Path(run).expanduser().resolve(), path.resolve()) and teacher.backbone.name == task.backbone.name:
            raise ConfigError(
                f"model.distill.teacher and model.weights are both {run}: leave out model.weights, or take another "
                "teacher"
            )
        if teacher.backbone.in_channels != task.backbone.in_channels:
            raise ConfigError(
                f"model.distill.teacher {run} takes images of {teacher.backbone.in_channels} channels, this run of "
                f"{task.backbone.in_channels}: choose another teacher"
            )
        rank_zero_info(f"teacher {teacher.backbone.name} of {path}, temperature {self.distill.temperature:g}")
        return teacher
