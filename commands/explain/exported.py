"""Exported files of images in place of a task: targets and their scores by the file's outputs, without gradients."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad

from commands.export.runtime import ImageModel
from modules.contracts import Backbone, Batch, ConfigError
from modules.insight.methods import WITHOUT_GRADIENTS
from modules.insight.targets import box_score, class_index, class_score, find_box, find_region, number, region_score


class ExportedScores:
    """Scores of a file's outputs; the same interface as that of a task for explanations.

    Of classes the probability, of boxes as of a detector, of class maps the probability where the file gives it, else
    the share of the pixels with that class.

    Args:
        model: the file.
        backbone: of the settings of the run, whose mean and standard deviation normalize the inputs.
        method: names of the methods that are asked for.

    Raises:
        ConfigError: the file gives neither classes nor boxes nor class maps of images, or a method looks into networks.
    """

    explained: tuple[nn.Module | None, Backbone | None] = (None, None)

    def __init__(self, model: ImageModel, backbone: Any, method: Sequence[str] = ()):
        outputs = set(model.metadata["outputs"])
        self.output = next((one for one in ("label", "boxes", "mask") if one in outputs), None)
        if model.kind != "image" or self.output is None:
            raise ConfigError(
                f"{model.path} takes {model.kind} and gives {', '.join(model.metadata['outputs'])}, but explained are "
                f"files of images that give classes, boxes or class maps: give the run as --ckpt_path"
            )
        if refused := [name for name in method if name not in WITHOUT_GRADIENTS]:
            raise ConfigError(
                f"--method {refused[0]} looks into the network, which the exported file {model.path} does not give: "
                f"use {' or '.join(WITHOUT_GRADIENTS)}, or give the run as --ckpt_path"
            )
        self.model, self.classes = model, list(model.classes or ())
        self.mean, self.std = (one.cpu().view(-1, 1, 1) for one in (backbone.mean, backbone.std))

    def eval(self) -> None:
        """Do nothing: files have no other mode."""

    def attended(self, batch: Batch, targets: Sequence[Any]) -> None:
        """Nothing: a file does not tell where its decoder attends."""

    def answers(self, batch: Batch) -> list[dict[str, Tensor]]:
        """Outputs of the file for normalized images, those inside of the padding."""
        pixels = ((batch["image"].cpu() * self.std + self.mean) * 255).round().clamp(0, 255).to(torch.uint8)
        images = pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
        insides = batch["inside"].round().int().tolist() if "inside" in batch else [images.shape[1:3]] * len(images)
        cut = [image[:height, :width].numpy() for image, (height, width) in zip(images, insides, strict=True)]
        found = self.model(cut)
        return [{name: torch.as_tensor(value) for name, value in one.items() if name != "rle"} for one in found]

    def targets(self, batch: Batch, wanted: str | None = None) -> list[Any]:
        """See `Task`."""
        found = self.answers(batch)
        if self.output == "label":
            return [int(one["label"]) if wanted is None else class_index(wanted, self.classes) for one in found]
        if self.output == "boxes":
            if wanted is not None:
                number(wanted, max(len(one["boxes"]) for one in found), "a box, the best score first")  # says how many
            return [find_box(one, wanted) for one in found]
        regions = [find_region(self._map(one), wanted, self.classes) for one in found]
        height, width = batch["image"].shape[-2:]
        sizes = [one.pixels.shape for one in regions]  # without the padding of the network's input
        return [
            one._replace(pixels=pad(one.pixels, (0, width - w, 0, height - h)))
            for one, (h, w) in zip(regions, sizes, strict=True)
        ]

    def target_score(self, batch: Batch, targets: Sequence[Any]) -> Tensor:
        """See `Task`; without gradients."""
        found = self.answers(batch)
        if self.output == "label":
            return class_score(torch.stack([one["scores"] for one in found]), targets)
        if self.output == "boxes":
            return box_score(found, targets)
        scores = []
        for one, target in zip(map(self._map, found), targets, strict=True):
            inside = target.pixels[: one.shape[1], : one.shape[2]]
            scores.append(region_score(one[None], [target._replace(pixels=inside)]))
        return torch.cat(scores)

    def _map(self, found: dict[str, Tensor]) -> Tensor:
        """Scores (C, H, W) of a class map."""
        if "probabilities" in found:
            return found["probabilities"]
        return one_hot(found["mask"].long(), len(self.classes)).movedim(2, 0)
