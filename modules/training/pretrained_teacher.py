"""Trained backbone as the teacher of another one: built and loaded when it is needed, and saved nowhere."""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from modules.backbones.size import check_stride, size_error, zeros
from modules.contracts import Backbone, ConfigError, DataError, naming
from modules.contracts.repositories import is_repository
from modules.training.fingerprint import fingerprint
from modules.training.hub import repository_about
from modules.training.metadata import ARGUMENTS, CHANGED, check_about
from modules.training.teacher_hash import same_source
from modules.training.transfer import described_backbone, load_backbone, read_weights, weights_file

KEPT = ("name", "small_images", *CHANGED, *ARGUMENTS)
"""Facts in a teacher's weights by which its network is built."""


class PretrainedTeacher:
    """Teacher in evaluation mode without gradients.

    It is no module, so that checkpoints hold it not, and its weights are read from their source at the first use.

    Args:
        source: of its weights, as `model.weights`.
        backbone: its name, null to read it from the weights' metadata; or `about` of a teacher of the same source, with
            which nothing is read and built before the first use.
        in_channels: of the student's images.

    Attributes: `about` describes it in plain values; `width` is that of its features, and `hash` that of its weights,
    once they are loaded.

    Raises:
        ConfigError: no source, no name to be found, or a network for clips.
        DataError: no weights at the source.
    """

    def __init__(self, source: str | None, backbone: str | dict[str, Any] | None, in_channels: int = 3):
        if not source:
            raise ConfigError(
                "distillation needs a teacher: add --model.teacher RUN, a file of weights, hf-hub:OWNER/NAME, or "
                "pretrained with --model.teacher_backbone NAME"
            )
        self.source, self.in_channels = source, in_channels
        self.about: dict[str, Any]
        self.loaded: Backbone | None = None
        self.hash = ""
        if isinstance(backbone, dict) and same_source(backbone["source"], source):
            self.about = backbone
        else:
            about = _about(source, backbone if isinstance(backbone, str) else None)
            self.about = {key: about[key] for key in KEPT if key in about} | {"source": source}
            if self.blank.temporal:
                raise ConfigError(f"model.teacher is {self.name}, which takes clips, not images: choose another")
            self.about["width"] = self.blank.features.pooled

    @property
    def name(self) -> str:
        """Name of its network."""
        return self.about["name"]

    @property
    def width(self) -> int:
        """Number of its pooled features."""
        return self.about["width"]

    @cached_property
    def blank(self) -> Backbone:
        """Its network, with random weights until it is loaded."""
        with torch.random.fork_rng(devices=[]):
            return described_backbone(self.about, self.in_channels)

    def load(self) -> Backbone:
        """The teacher with its weights, which are read now if they are not yet.

        Raises:
            ConfigError: they are of another network.
            DataError: they cannot be read.
        """
        if self.loaded is None:
            with naming("model.teacher"):
                said = load_backbone(self.blank, self.source)
            rank_zero_info(f"teacher {self.name}: {said.removeprefix('backbone: ')}")
            self.loaded = self.blank.eval().requires_grad_(False)
            self.hash = fingerprint(self.loaded.state_dict())
        return self.loaded

    @torch.no_grad()
    def features(self, image: Tensor, student: Backbone) -> Tensor:
        """Pooled features (B, D), float32.

        Args:
            image: (B, C, H, W), normalized for the student.
            student: whose mean and standard deviation the images have.
        """
        teacher = self.load().to(image.device, image.dtype)
        return teacher.pool(teacher(teacher.standardize(student.restore(image)))).float()

    def check_side(self, side: int, option: str) -> None:
        """Check the side of images, in pixels, that an option sets.

        Raises:
            ConfigError: the teacher does not take them.
        """
        check_stride(self.blank, side, option)
        image = zeros(self.blank, 1, side, side)
        if sentence := size_error(self.blank, image, ValueError("it fails"), ", or take another teacher", option):
            raise sentence

    def check_student(self, student: Backbone, weights: str | None) -> None:
        """Check that the student does not begin with the teacher's own weights.

        Raises:
            ConfigError: it does.
        """
        if weights and self.name == student.name and _place(weights) == _place(self.source):
            raise ConfigError(
                f"model.teacher and model.weights are both {self.source}, so that there is nothing to learn: leave out "
                "model.weights, or take another teacher"
            )


def _place(source: str) -> str | Path:
    return source if source == "pretrained" or is_repository(source) else weights_file(source).resolve()


def _about(source: str, name: str | None) -> dict[str, Any]:
    """Metadata of weights, under the name that is typed, if any: with one, the file may be gone by now."""
    about: dict[str, Any] = {}
    try:
        if source != "pretrained":
            with naming("model.teacher"):
                about = repository_about(source) if is_repository(source) else read_weights(source).about
                check_about(about, source)
    except DataError:
        if not name:
            raise
    if name:
        return about | {"name": name}
    if not about.get("name"):
        raise ConfigError(
            f"model.teacher {source} does not say of which network it is: add --model.teacher_backbone NAME"
        )
    return about
