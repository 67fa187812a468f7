"""Object detection: boxes and classes."""

from functools import partial
from typing import Any, ClassVar

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from modules.contracts import Batch, ConfigError, NeckFactory, Prediction
from modules.decoding.boxes import Detection as Found
from modules.decoding.boxes import merge, mirrored, to_original
from modules.decoding.masks import paste
from modules.heads.detection import DetectorFactory, FasterRCNN
from modules.metrics.detection import PROTOCOLS, DetectionScores, Report
from modules.metrics.pictures import Kind
from modules.necks import FPN
from modules.transfer import freeze_norms
from tasks.base import Task


class Detection(Task):
    """Boxes around objects, each with a class and a score, in pixels of the original picture.

    Args:
        classes: class names in order of their index, without background; null takes the data's.
        head: finds objects in maps; null is a FasterRCNN.
        neck: between backbone and head; null is an FPN with one more, coarser map.
        fit_anchors: choose the sizes of the anchors by k-means on the boxes of the training pictures, before training.
        freeze_norm: the backbone's batch norms keep their statistics and are not trained: for small batches with
            `weights`.
        flip: outside of training, merge with what is found in the mirrored picture.
    """

    monitor = "val/map"
    mode = "max"
    whole = True
    protocols: ClassVar[dict[str, str]] = PROTOCOLS
    masks: ClassVar[bool] = False
    detector: ClassVar[DetectorFactory] = FasterRCNN

    def __init__(
        self,
        classes: list[str] | None = None,
        # null: filled-in arguments would stay when another class is chosen
        head: DetectorFactory | None = None,
        neck: NeckFactory | None = None,
        fit_anchors: bool = False,
        freeze_norm: bool = False,
        flip: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not classes:
            raise ConfigError("detection needs classes: from the data, or as --model.classes")
        self.classes = classes
        self.neck = neck(self.backbone.features) if neck else FPN(self.backbone.features, extra="pool")
        self.head = (head or self.detector)(self.neck.features, len(classes))
        self.fit_anchors, self.freeze_norm, self.flip = fit_anchors, freeze_norm, flip
        self.train()
        scores = partial(DetectionScores, len(classes), self.masks, errors=True)
        self.scores = torch.nn.ModuleDict({"val": scores(), "test": scores()})
        self.to(memory_format=torch.channels_last)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and self.fit_anchors and not self.trainer.ckpt_path:  # a resumed run has its own
            rank_zero_info(self.head.fit_anchors(self.trainer.datamodule.box_sizes()))

    def train(self, mode: bool = True) -> "Detection":
        super().train(mode)
        if self.freeze_norm:
            freeze_norms(self.backbone)
        return self

    def forward(self, image: Tensor, inside: Tensor) -> list[Found]:
        """Normalised pictures (B, 3, H, W) and the sizes (B, 2) of what is no padding to detections in their pixels."""
        found, _ = self.head(image, self._maps(image), inside)
        if not self.flip:
            return found
        # the picture moves to the other side of its padding
        turned = torch.stack([_mirror(one, int(side[1])) for one, side in zip(image, inside, strict=True)])
        again, _ = self.head(turned, self._maps(turned), inside)
        return [
            merge([one, mirrored(other, float(side[1]))], self.head.selection)
            for one, other, side in zip(found, again, inside, strict=True)
        ]

    def training_step(self, batch: Batch, index: int) -> Tensor:
        keys = ("boxes", "labels", "masks") if self.masks else ("boxes", "labels")
        targets = [dict(zip(keys, one, strict=True)) for one in zip(*(batch[k] for k in keys), strict=True)]
        _, losses = self.head(batch["image"], self._maps(batch["image"]), batch["inside"], targets)
        loss = sum(losses.values())
        self.log_step({"loss": loss} | {name: value.detach() for name, value in losses.items()})
        return loss

    def validation_step(self, batch: Batch, index: int) -> Prediction:
        return self._evaluate(batch, "val")

    def test_step(self, batch: Batch, index: int) -> Prediction:
        return self._evaluate(batch, "test")

    def on_validation_epoch_end(self) -> None:
        self._conclude("val")

    def on_test_epoch_end(self) -> None:
        self._conclude("test")

    def reports(self, stage: str) -> dict[Kind, Report]:
        """What the last pass over a split, `val` or `test`, says beyond single figures."""
        return self.scores[stage].reports

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        found = self(batch["image"], batch["inside"])
        answers = [self._original(*one) for one in zip(found, batch["inside"], batch["size"], strict=True)]
        return {key: [answer[key] for answer in answers] for key in answers[0]}

    def _evaluate(self, batch: Batch, stage: str) -> Prediction:
        prediction = self.predict_step(batch, 0)
        self.scores[stage].update(prediction, batch["truth"])
        return prediction

    def _conclude(self, stage: str) -> None:
        scores = self.scores[stage].compute()
        self.log_dict({f"{stage}/{name}": value for name, value in scores.items()})
        self.scores[stage].reset()

    def _maps(self, image: Tensor) -> list[Tensor]:
        return self.neck(self.backbone(image))

    def _original(self, found: Found, inside: Tensor, size: Tensor) -> dict[str, Any]:
        """Detections of one picture in pixels of the original."""
        boxes = to_original(found["boxes"], inside, size)
        answer = {"boxes": boxes, "scores": found["scores"], "labels": found["labels"]}
        if self.masks:
            answer["rle"] = paste(found["mask_probabilities"], boxes, tuple(size.tolist()))
        return answer


def _mirror(image: Tensor, width: int) -> Tensor:
    """A picture (3, H, W) whose first `width` columns are mirrored; the rest is padding."""
    return torch.cat([image[..., :width].flip(-1), image[..., width:]], -1)
