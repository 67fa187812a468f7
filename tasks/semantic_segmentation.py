"""Semantic segmentation: a class for every pixel."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from modules.backbones.fold_batchnorm import folded
from modules.backbones.size import check_stride
from modules.contracts import IGNORE, Batch, ConfigError, Features, NeckFactory, Prediction, check_range, check_sizes
from modules.contracts.data_info import DataInfo, class_names
from modules.decoding.dense import class_maps, infer, padded, to_original, without_padding
from modules.decoding.patches import at_every_pixel, at_random_pixels
from modules.decoding.tta import TTA, TiledTTA
from modules.export import Graph, Preprocess, Segmenter, image_graph
from modules.heads import FCN, UNet
from modules.heads.base import DenseHead, Head, HeadFactory
from modules.heads.queries import MaskQueryHead, SemanticQueries, semantic
from modules.insight.targets import Region, find_region, region_score
from modules.layers.blocks import resize
from modules.losses.segmentation import SegmentationLoss
from modules.metrics.bootstrap import Statistic, Sums
from modules.metrics.bootstrap.records import means, per_item
from modules.metrics.segmentation import PROTOCOLS, RESIZED, SegmentationScores
from modules.necks import build_neck
from tasks.base import Stage
from tasks.vision import VisionTask

Maps = Tensor | list[Tensor]


class SemanticSegmentation(VisionTask):
    """Semantic segmentation: one class per pixel, evaluated at the original resolution.

    Validation, test and prediction take images of any size and return maps at the original resolution, so the scores
    are those of the maps that prediction writes.

    Args:
        classes: class names in order of their index, background too if it is one; null takes the data's.
        head: maps to one map of logits per class, or mask queries; null is a UNet.
        neck: between backbone and head; null is none. The one map of a ViT becomes a pyramid first (Li et al. 2022);
            NoNeck leaves it as it is.
        aux_loss_weight: weight of a second loss in training, of an FCN head on the last map but one; 0 is off.
        patch_size: classify the center pixel of each patch of that side in pixels, which the network sees by itself; a
            pass for every pixel, so that whole images take patch_size^2 times as long. Null runs it over whole images.
        patches_per_image: patches of each image in training, around random pixels; validation and test see all.
        loss: segmentation loss, with class weights; mask queries have their own.
        tta: test-time augmentation: average the probabilities of flipped and resized images.
        tile_size: side in pixels of the tiles that larger images are cut into outside of training; null takes the whole
            image in one pass.
        tile_overlap: share of a tile that neighbors have in common, [0, 1).
        probabilities: prediction also writes the probability of every class at every pixel.
        resized_scores: also evaluate against masks resized to `image_size`, as many papers and other programs do, under
            names that end in `_resized`.
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image", "mask")
    monitor = "val/miou"
    mode = "max"
    letterbox = True
    protocols: ClassVar[dict[str, str]] = {
        **{name: f"{how}; at the original resolution" for name, how in PROTOCOLS.items()},
        **{name + RESIZED: f"{how}; on masks resized to image_size" for name, how in PROTOCOLS.items()},
        "loss": "mean over labeled pixels, without auxiliary head; on masks resized to image_size",
    }

    def __init__(
        self,
        classes: list[str] | None = None,
        # null, not UNet: its filled-in arguments would stay when another head is chosen
        head: HeadFactory[DenseHead | MaskQueryHead] | None = None,
        neck: NeckFactory | None = None,
        aux_loss_weight: float = 0.0,
        patch_size: int | None = None,
        patches_per_image: int = 64,
        loss: SegmentationLoss = SegmentationLoss(),
        tta: TTA = TTA(),
        tile_size: int | None = None,
        tile_overlap: float = 0.5,
        probabilities: bool = False,
        resized_scores: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        classes = class_names(classes, "model.classes")
        check_range("model.aux_loss_weight", aux_loss_weight)
        if not classes or len(classes) < 2:
            raise ConfigError("semantic segmentation needs at least two classes: from the data, or as --model.classes")
        self.classes, count, features = classes, len(classes), self.backbone.features
        self.neck = build_neck(features, neck)
        self.head: Any = self.make_head(Head, semantic(head or UNet), self.neck.features, count)
        if isinstance(self.head, SemanticQueries):
            self.neck = self.head.join(self.backbone, self.neck, neck is not None)
            self.head.check(loss, patch_size, aux_loss_weight)
        check_sizes("model", patch_size=1 if patch_size is None else patch_size, patches_per_image=patches_per_image)
        if patch_size:
            check_stride(self.backbone, patch_size, "model.patch_size")
        if patch_size and aux_loss_weight:
            raise ConfigError("model.aux_loss_weight is of whole images: leave it, or --model.patch_size, out")
        self.patch_size, self.patches_per_image = patch_size, patches_per_image
        self.auxiliary, self.aux_loss_weight = None, aux_loss_weight
        if aux_loss_weight:
            if len(features.channels) < 2:
                raise ConfigError(
                    f"model.aux_loss_weight needs a backbone of several maps; {self.backbone.name} has one"
                )
            self.auxiliary = FCN(Features(features.channels[:-1], features.strides[:-1]), count)
        loss.check(count)
        self.loss = loss
        how = "without the auxiliary loss of training" if aux_loss_weight else "as in training"
        how = self.head.eval_protocol if isinstance(self.head, SemanticQueries) else how
        self.protocols = self.protocols | {"loss": f"{loss.name}, {how}; {self.protocols['loss']}"}
        self.register_buffer("class_weights", torch.ones(count))  # the data's come with `setup`
        self.tiled, self.probabilities = TiledTTA(tta, tile_size, tile_overlap), probabilities
        self.scores = nn.ModuleDict({stage: SegmentationScores(count) for stage in ("val", "test")})
        stages = ("val", "test") if resized_scores else ()
        self.resized_scores = nn.ModuleDict({stage: SegmentationScores(count) for stage in stages})
        self.to(memory_format=torch.channels_last)

    def on_data(self, data: DataInfo, stage: str) -> None:
        super().on_data(data, stage)
        size = data.preprocessing.size if data.preprocessing else None
        if stage == "fit" and size and (self.patch_size or 0) > max(size):
            raise ConfigError(f"model.patch_size is {self.patch_size}, but images have {max(size)} pixels: lower it")
        if stage == "fit" and self.loss.class_weights is not None:
            self.class_weights.copy_(self.loss.weights(len(self.classes), data.class_pixels))

    def chance_loss(self) -> float | None:
        if self.loss.terms.keys() - {"cross_entropy"} or isinstance(self.head, SemanticQueries):
            return None  # sizes of the objects count
        return (1 + self.aux_loss_weight) * self.loss.terms["cross_entropy"] * math.log(len(self.classes or ()))

    def forward(self, image: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) of any size to logits (B, C, H, W)."""
        return padded(self._logits, image, self._stride)

    def _logits(self, image: Tensor) -> Tensor:
        return at_every_pixel(self._network, image, self.patch_size) if self.patch_size else self._network(image)

    def _network(self, image: Tensor) -> Tensor:
        return self.head.logits(image, self._maps)

    def _maps(self, image: Tensor) -> list[Tensor]:
        return self.neck(self.backbone(image))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        image, mask, maps = batch["image"], batch["mask"], []
        if self.patch_size:
            found = at_random_pixels(self._network, image, mask, self.patch_size, self.patches_per_image)
            loss, terms = self._loss(*found)
        elif isinstance(self.head, SemanticQueries):
            loss, terms = self.head.losses(image, self._maps, mask)
        else:
            maps = self.backbone(image)
            loss, terms = self._loss(self.head(self.neck(maps)), mask)
        if self.auxiliary:
            second, _ = self._loss(self.auxiliary(maps[:-1]), mask)
            loss, terms = loss + self.aux_loss_weight * second, terms | {"auxiliary": second.detach()}
        parts = {f"loss_{name}": value for name, value in terms.items()}
        self.log_step({"loss": loss} | (parts if len(parts) > 1 else {}))
        return loss

    def targets(self, batch: Batch, wanted: str | None = None) -> list[Region]:
        return [find_region(logits, wanted, self.classes or ()) for logits in self(batch["image"])]

    def target_score(self, batch: Batch, targets: Sequence[Region]) -> Tensor:
        return region_score(self(batch["image"]), targets)

    def graphs(self, preprocess: Preprocess) -> dict[str, Graph]:
        if self.patch_size:
            raise ConfigError(
                "model.patch_size runs the network once for every pixel, which no file does: set it to null"
            )
        network = Segmenter(
            folded(self.backbone),
            self.neck,
            self.head,
            partial(infer, stride=self._stride, tiled=self.tiled, at_once=0),
            preprocess.canvas is not None,
            self.probabilities,
        )
        outputs = ["mask", *(["probabilities"] if self.probabilities else [])]
        return {"model": image_graph(preprocess, self.backbone, network, outputs)}

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        found = self._infer(batch)
        answer: Prediction = {"mask": class_maps(found, batch["inside"], batch["size"])}
        if self.probabilities:
            answer["probabilities"] = list(to_original(found, batch["inside"], batch["size"]))
        return answer

    def eval_step(self, batch: Batch, index: int, stage: Stage) -> Prediction:
        found, mask = self._infer(batch), batch["mask"]
        answer: Prediction = {"mask": found.max(1).indices}  # four times as fast on a CPU as argmax
        if "original_mask" in batch:
            answer["original_mask"] = class_maps(found, batch["inside"], batch["size"])
        self._count(stage, "", answer.get("original_mask", answer["mask"]), batch.get("original_mask", mask))
        if self.resized_scores:
            self._count(stage, RESIZED, answer["mask"], mask)
        logits = found.clamp_min(1e-8).log()
        self.log_mean(stage, {"loss": self._loss(logits, mask)[0]}, (mask != IGNORE).sum())
        if stage == "test":
            losses = per_item(lambda *one: self._loss(*one)[0], logits, mask)
            self.records.add(stage, loss=torch.stack([losses, (mask != IGNORE).sum((1, 2))], 1))
        return answer

    def score(self, prediction: Prediction, batch: Batch, stage: Stage) -> Prediction:
        sizes, said = batch["size"].tolist(), prediction["mask"]
        whole = [mask[:height, :width] for mask, (height, width) in zip(batch["mask"], sizes, strict=True)]
        self._count(stage, "", said, batch.get("original_mask", whole))
        most = batch["mask"].shape[-2:]
        room = [pad(mask, (0, most[1] - mask.shape[1], 0, most[0] - mask.shape[0])) for mask in said]
        return {"mask": torch.stack(room).long(), "original_mask": said}

    def _count(self, stage: Stage, end: str, said: Maps, true: Maps) -> None:
        """Count the pixels of B class maps, (h, w) each, for the metrics of this end; of a test image by image."""
        scores = cast(SegmentationScores, (self.resized_scores if end else self.scores)[stage])
        if isinstance(said, Tensor) and isinstance(true, Tensor) and stage == "val":
            scores.update(said, true)
            return
        rows = []
        for one, other in zip(said, true, strict=True):
            scores.update(one[None], other[None])
            rows.append(scores.latest)
        self.records.add(stage, **{f"regions{end}": torch.stack(rows)})

    def statistics(self, columns: dict[str, np.ndarray]) -> list[Statistic]:
        rest = {name: column for name, column in columns.items() if not name.startswith("regions")}
        ends = {name.removeprefix("regions"): columns[name] for name in columns.keys() - rest.keys()}
        return means(rest) + [Sums("regions", [end], rows.reshape(len(rows), -1)) for end, rows in sorted(ends.items())]

    def _infer(self, batch: Batch) -> Tensor:
        """Probabilities (B, C, H, W) of the images, by tiled inference and test-time augmentation."""

        def predict(image: Tensor) -> Tensor:
            return infer(self._logits, image, self._stride, self.tiled)

        if self.data.preprocessing and self.data.preprocessing.size:  # letterboxed images are padded to one size
            return predict(batch["image"])
        return without_padding(predict, batch["image"], batch["inside"], batch["size"])

    def _loss(self, logits: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        weights = None if self.loss.class_weights is None else self.class_weights
        return self.loss.compute(resize(logits.float(), mask.shape[-2:]), mask, weights)

    def on_eval_epoch_end(self, stage: Stage) -> None:
        for end, scores in (("", self.scores), (RESIZED, self.resized_scores)):
            if stage in scores:
                self.log_metrics({f"{stage}/{name}{end}": value for name, value in scores[stage].compute().items()})
                scores[stage].reset()

    @property
    def _stride(self) -> int:
        return max(self.backbone.features.strides)
