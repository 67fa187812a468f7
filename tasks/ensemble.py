"""Ensemble of several runs of one classification: the mean of their probabilities."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from modules.contracts import ConfigError
from modules.decoding.crops import Views
from modules.training.checkpoint_file import read_checkpoint, run_file


class Ensemble:
    """Other runs that answer beside a task; their checkpoints are read at the first batch.

    Args:
        runs: run directories or .ckpt files; a text of several separated by commas.
    """

    def __init__(self, runs: Sequence[str] | str | None):
        runs = runs.split(",") if isinstance(runs, str) else runs
        self.runs = [str(run).strip() for run in runs or ()]
        if "" in self.runs:
            raise ConfigError("model.ensemble names an empty run: give it run directories, separated by commas")
        self.members: list[Any] | None = None

    def views(self, task: Any, image: Tensor) -> Views:
        """Views of the other runs, as `Classification.views_of` gives them.

        Args:
            task: the run that they answer beside.
            image: (B, 3, H, W) normalized for its backbone; others have their own mean and standard deviation.
        """
        if self.members is None:
            self.members = [self._load(run, task).to(image.device, image.dtype) for run in self.runs]
        found: Views = []
        for member in self.members:
            same = all(torch.equal(getattr(member.backbone, k), getattr(task.backbone, k)) for k in ("mean", "std"))
            shown = image if same else member.backbone.standardize(task.backbone.restore(image))
            found += member.views_of(shown)
        return found

    @staticmethod
    def _load(run: str, task: Any) -> Any:
        """The task of another run, in evaluation mode.

        Raises:
            DataError: no checkpoint.
            ConfigError: it is of another task, of other classes, or of images of other channels.
        """
        path, kind = run_file(run), type(task)
        other = read_checkpoint(path, mapped=True).get("task")
        if other != kind.__name__:
            raise ConfigError(
                f"model.ensemble {run} is of {other}, but these runs are of {kind.__name__}: leave it out"
            )
        member = kind.load_from_checkpoint(path, map_location="cpu").eval().requires_grad_(False)
        if member.classes != task.classes:
            differ = sorted(set(member.classes) ^ set(task.classes))
            said = f"such as {differ[0]}" if differ else "in another order"
            raise ConfigError(
                f"model.ensemble {run} has other classes ({said}): average runs that were trained on the same ones"
            )
        if member.backbone.in_channels != task.backbone.in_channels:
            raise ConfigError(
                f"model.ensemble {run} takes images of {member.backbone.in_channels} channels, this run of "
                f"{task.backbone.in_channels}: average runs of the same"
            )
        rank_zero_info(f"ensemble: {run}, {member.backbone.name}")
        return member
