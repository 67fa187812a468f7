"""Object detection: boxes, classes, scores."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from modules.backbones.fold_batchnorm import folded
from modules.backbones.reach import freeze_norms
from modules.contracts import Batch, ConfigError, NeckFactory, Prediction
from modules.contracts.data_info import DataInfo, class_names
from modules.decoding.boxes import Detection as Found
from modules.decoding.boxes import mirrored, to_original
from modules.decoding.masks import paste
from modules.decoding.objects import Shown, infer
from modules.decoding.tta import TTA, TiledTTA
from modules.export import Graph, ObjectFinder, Preprocess, check_exportable, image_graph
from modules.export.query_instances import QueryFinder
from modules.heads.base import HeadFactory
from modules.heads.detection import DetectionHead, Detector, FasterRCNN
from modules.heads.detection.base import Target
from modules.heads.queries import QueryInstances
from modules.insight.targets import Box, box_score, find_box, number
from modules.metrics.bootstrap import Statistic
from modules.metrics.detection import DetectionScores, Report, protocols
from modules.metrics.detection_arrays import Kind
from modules.metrics.threshold import Threshold
from modules.necks import FPN, build_neck
from tasks.base import Stage
from tasks.vision import VisionTask


class Detection(VisionTask):
    """Object detection: a box, a class and a score per object, in pixels of the original image.

    Args:
        classes: class names in order of their index, without background; null takes the data's.
        head: detection head; null is a FasterRCNN.
        neck: between backbone and head; null is an FPN with one more, coarser map, NoNeck leaves it out. The one map of
            a ViT becomes a pyramid first (Li et al. 2022).
        fit_anchors: choose the sizes of the anchors by k-means on the boxes of the training images, before training;
            null does so where the head's own reach less than 90 % of these boxes by an IoU of 0.5, and keeps sizes that
            were given or come with `init_from`.
        freeze_norm: freeze the backbone's batch norms, with their statistics: for small batches with `weights`.
        tta: test-time augmentation: merge the detections of flipped and resized images.
        tile_size: side in pixels of the tiles that larger images are cut into outside of training; null takes the whole
            image in one pass. Images keep their own sizes with `--data.image_size null`.
        tile_overlap: share of a tile that neighbors have in common, [0, 1); objects larger than that may be found in
            pieces.
        calibrate: after validation take for each class the score of its best F1, from which on its detections are drawn
            and counted by predictions, exported files and `serve`, in place of one score for all; it is kept in the
            checkpoint.
        extra_metrics: also log the average precision of Pascal VOC (`voc`) or the score of the Data Science Bowl 2018
            (`dsb2018`).
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image", "boxes", "labels")
    float32 = True
    monitor = "val/map"
    mode = "max"
    letterbox = True
    masks: ClassVar[bool] = False
    chosen = ("drawing_threshold",)
    kind: ClassVar[type[Detector]] = DetectionHead
    sigmas: Sequence[float] = ()
    sigmas_in_words: str = ""

    def __init__(
        self,
        classes: list[str] | None = None,
        # null: filled-in arguments would stay when another class is chosen
        head: HeadFactory[DetectionHead] | None = None,
        neck: NeckFactory | None = None,
        fit_anchors: bool | None = None,
        freeze_norm: bool = False,
        tta: TTA = TTA(),
        tile_size: int | None = None,
        tile_overlap: float = 0.5,
        calibrate: bool = False,
        extra_metrics: list[Literal["voc", "dsb2018"]] = [],  # noqa: B006
        **kwargs,
    ):
        super().__init__(**kwargs)
        classes = class_names(classes, "model.classes")
        if not classes:
            raise ConfigError("detection needs classes: from the data, or as --model.classes")
        self.classes = classes
        self.neck = build_neck(self.backbone.features, neck or partial(FPN, extra="pool"))
        self.head = self.make_head(self.kind, head or FasterRCNN, self.neck.features, len(classes))
        self.fit_anchors, self.freeze_norm = fit_anchors, freeze_norm
        self.tiled = TiledTTA(tta, tile_size, tile_overlap)
        self.calibrate = calibrate
        self.drawing_threshold: Threshold | None = None  # score of the best F1 of the last validation
        self.train()
        most = max(100, self.head.selection.detections)  # COCO's, or all that may be found
        self.protocols = protocols(most, self.sigmas_in_words)
        extra = {name: name in extra_metrics for name in ("voc", "dsb2018")}
        scores = partial(DetectionScores, len(classes), self.masks, most, errors=True, sigmas=self.sigmas, **extra)
        self.scores = torch.nn.ModuleDict({"val": scores(), "test": scores(items=True)})
        self.to(memory_format=torch.channels_last)

    def on_data(self, data: DataInfo, stage: str) -> None:
        super().on_data(data, stage)
        if (line := self.head.proposals_from(data.proposals)) and stage in ("fit", "predict"):
            rank_zero_info(line)
        if stage != "fit" or self.trainer.ckpt_path:  # a resumed run has its own anchors
            return
        counts = data.object_counts()
        if counts is not None and (line := self.head.places_for(counts)):
            rank_zero_info(line)
        sizes = data.box_sizes()
        if sizes is not None or self.fit_anchors:
            fit = False if self.init_from and self.fit_anchors is None else self.fit_anchors  # its weights know its own
            line = self.head.settle_anchors(np.zeros((0, 2)) if sizes is None else sizes, fit)
            rank_zero_info(line or f"{self.head.title} has no anchors")

    def train(self, mode: bool = True) -> "Detection":
        super().train(mode)
        if self.freeze_norm:
            freeze_norms(self.backbone)
        return self

    def forward(self, image: Tensor, inside: Tensor, proposals: list[Tensor] | None = None) -> list[Found]:
        """Detections in normalized images (B, 3, H, W), in their pixels.

        Takes the sizes (B, 2) of what is no padding, and proposals (R, 4) of each image for heads that need them.
        """
        stride = max(self.backbone.features.strides)
        black = self.backbone.normalize(image.new_zeros(image.shape[1], 1, 1)[None])[0]
        shown = Shown(image, inside, proposals)
        settings = self.tiled, self.head.selection, stride, black, self.mirror
        return infer(lambda shown: self._detect(shown)[0], shown, *settings)

    def _detect(self, shown: Shown, targets: list[Target] | None = None) -> tuple[list[Found], dict[str, Tensor]]:
        maps = self._maps if self.head.crops else self._maps(shown.image)
        return self.head(shown.image, maps, shown.inside, targets, shown.proposals)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        keys = (*self.required_keys[1:], *(["masks"] if self.masks else []))
        targets = [dict(zip(keys, one, strict=True)) for one in zip(*(batch[k] for k in keys), strict=True)]
        _, losses = self._detect(_shown(batch), targets)
        loss = sum(losses.values())
        self.log_step({"loss": loss} | {f"loss_{name}": value.detach() for name, value in losses.items()})
        return loss

    def targets(self, batch: Batch, wanted: str | None = None) -> list[Box | None]:
        """See `Task`: the box of that number, of the best score first; the best one by default."""
        found = self(*_shown(batch))
        boxes = [find_box(one, wanted) for one in found]
        if wanted is not None and not any(boxes):
            number(wanted, max(len(one["boxes"]) for one in found), "a box, the best score first")  # says how many
        return boxes

    def target_score(self, batch: Batch, targets: Sequence[Box]) -> Tensor:
        return box_score(self(*_shown(batch)), targets)

    def graphs(self, preprocess: Preprocess) -> dict[str, Graph]:
        check_exportable(self.head, self.tiled)
        finder = QueryFinder if isinstance(self.head, QueryInstances) else ObjectFinder
        network = finder(folded(self.backbone), self.neck, self.head)
        outputs = ["boxes", "scores", "labels", *(["mask_probabilities"] if self.masks else []), "count"]
        exact = {"exact_masks": True} if self.head.exact_masks else {}
        return {"model": image_graph(preprocess, self.backbone, network, outputs, **exact)}

    def reports(self, stage: str) -> dict[Kind, Report]:
        """Per-class AP, curves and errors of the last pass over a split, `val` or `test`."""
        return self.scores[stage].reports

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        found = self(*_shown(batch))
        answers = [self.original(*one) for one in zip(found, batch["inside"], batch["size"], strict=True)]
        return {key: [answer[key] for answer in answers] for key in answers[0]}

    def eval_step(self, batch: Batch, index: int, stage: Stage) -> Prediction:
        return self.score(self.predict_step(batch, index), batch, stage)

    def score(self, prediction: Prediction, batch: Batch, stage: Stage) -> Prediction:
        self.scores[stage].update(prediction, batch["truth"])
        return prediction

    def on_eval_epoch_end(self, stage: Stage) -> None:
        scores = self.scores[stage].compute()
        self.log_metrics({f"{stage}/{name}": value for name, value in scores.items()})
        self.scores[stage].reset()
        if stage == "val":
            report = [*self.reports(stage).values()][-1]  # of masks or keypoints, if there are any
            found = list(report.thresholds) if self.calibrate else report.threshold
            self.drawing_threshold = found if report.has_best else None

    def statistics(self, columns: dict[str, np.ndarray]) -> list[Statistic]:
        return [*super().statistics(columns), *cast(DetectionScores, self.scores["test"]).statistics]

    def _maps(self, image: Tensor) -> list[Tensor]:
        return self.neck(self.backbone(image))

    def mirror(self, found: Found, width: float) -> Found:
        """Horizontal flip of detections in an image of `width` pixels, for test-time augmentation."""
        return mirrored(found, width)

    def original(self, found: Found, inside: Tensor, size: Tensor) -> dict[str, Any]:
        """Detections of one image in pixels of the original."""
        boxes = to_original(found["boxes"], inside, size)
        answer = {"boxes": boxes, "scores": found["scores"], "labels": found["labels"]}
        if self.masks:
            masks, exact = found["mask_probabilities"], self.head.exact_masks
            answer["rle"] = paste(masks, boxes, tuple(size.tolist()), exact=exact)
        return answer


def _shown(batch: Batch) -> Shown:
    return Shown(batch["image"], batch["inside"], batch.get("proposals"))
