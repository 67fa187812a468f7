"""Panoptic segmentation: every pixel to a segment, objects told apart and the regions around them not."""

from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from modules.contracts import IGNORE, Batch, ConfigError, NeckFactory, Prediction, check_range
from modules.contracts.data_info import DataInfo, class_names
from modules.decoding.panoptic import SegmentSelection, panoptic
from modules.heads import FCN, QueryMasks
from modules.heads.base import HeadFactory
from modules.heads.queries import MaskQueryHead, Target
from modules.layers.blocks import resize
from modules.losses.segmentation import cross_entropy
from modules.metrics.bootstrap import Statistic
from modules.metrics.bootstrap.records import means
from modules.metrics.panoptic import PROTOCOLS, PanopticScores, by_groups
from modules.necks import build_neck
from tasks.base import Stage
from tasks.vision import VisionTask


class PanopticSegmentation(VisionTask):
    """Panoptic segmentation: segments of things and stuff that do not overlap, in pixels of the original image.

    Args:
        classes: class names in order of their index; null takes the data's.
        things: names of the classes whose objects are told apart; the others are stuff, one segment of each class at
            most. Null takes the data's.
        head: head of mask queries; null is a QueryMasks.
        neck: between backbone and head; null is none. The one map of a ViT becomes a pyramid first (Li et al. 2022);
            NoNeck leaves it as it is.
        aux_loss_weight: weight of a second loss in training, the cross-entropy of each pixel's class by an FCN on the
            maps, which teaches them the classes sooner than the queries do (Wang et al. 2021); 0 is off.
        selection: choice of the segments among the answers of the queries.
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image", "segments", "labels")
    monitor = "val/pq"
    mode = "max"
    letterbox = True
    protocols: ClassVar[dict[str, str]] = PROTOCOLS

    def __init__(
        self,
        classes: list[str] | None = None,
        things: list[str] | None = None,
        # null: filled-in arguments would stay when another class is chosen
        head: HeadFactory[MaskQueryHead] | None = None,
        neck: NeckFactory | None = None,
        aux_loss_weight: float = 0.0,
        selection: SegmentSelection = SegmentSelection(),
        **kwargs,
    ):
        super().__init__(**kwargs)
        classes, things = class_names(classes, "model.classes"), class_names(things, "model.things")
        if not classes or things is None:
            raise ConfigError(
                "panoptic segmentation needs classes, and which of them are things: from the data, or as "
                "--model.classes and --model.things"
            )
        if unknown := [name for name in things if name not in classes]:
            raise ConfigError(f"model.things names {unknown[0]!r}, which is none of the classes: {', '.join(classes)}")
        self.classes, self.things, self.selection = classes, things, selection
        self.neck = build_neck(self.backbone.features, neck)
        self.head = self.make_head(MaskQueryHead, head or QueryMasks, self.neck.features, len(classes))
        self.neck = self.head.join(self.backbone, self.neck, neck is not None)
        check_range("model.aux_loss_weight", aux_loss_weight)
        self.aux_loss_weight = aux_loss_weight
        self.auxiliary = FCN(self.neck.features, len(classes), finest=4, dropout=0.0) if aux_loss_weight else None
        of_things = [name in things for name in classes]
        self.register_buffer("of_things", torch.tensor(of_things), persistent=False)
        self.scores = torch.nn.ModuleDict({stage: PanopticScores(of_things) for stage in ("val", "test")})
        self.to(memory_format=torch.channels_last)

    def on_data(self, data: DataInfo, stage: str) -> None:
        super().on_data(data, stage)
        given = None if data.things is None else set(data.things)
        if given is not None and given != set(self.things):
            name = min(given ^ set(self.things))
            raise ConfigError(
                f"model.things {'has' if name in self.things else 'lacks'} {name!r}, unlike {data.name}: leave it out"
            )

    def training_step(self, batch: Batch, index: int) -> Tensor:
        seen: list[Tensor] = []

        def see(image: Tensor) -> list[Tensor]:
            seen[:] = self._maps(image)
            return seen

        _, losses = self.head(batch["image"], see, targets(batch))
        if self.auxiliary:
            if not seen:
                name = type(self.head).__name__
                raise ConfigError(f"model.aux_loss_weight is of the maps, which {name} does without: leave it out")
            mask = class_maps(batch)
            second = cross_entropy(resize(self.auxiliary(seen).float(), mask.shape[-2:]), mask)
            losses = losses | {"auxiliary": self.aux_loss_weight * second}
        loss = torch.stack([*losses.values()]).sum()
        self.log_step({"loss": loss} | {f"loss_{name}": value.detach() for name, value in losses.items()})
        return loss

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        found, _ = self.head(batch["image"], self._maps)
        shown = tuple(batch["image"].shape[-2:])
        sides = zip(batch["inside"].tolist(), batch["size"].tolist(), strict=True)
        answers = [
            panoptic(classes, masks, self.of_things, self.selection, shown, tuple(inside), tuple(size))
            for classes, masks, (inside, size) in zip(*found, sides, strict=True)
        ]
        return {key: [getattr(one, key) for one in answers] for key in ("segments", "labels", "scores")}

    def eval_step(self, batch: Batch, index: int, stage: Stage) -> Prediction:
        return self.score(self.predict_step(batch, index), batch, stage)

    def score(self, prediction: Prediction, batch: Batch, stage: Stage) -> Prediction:
        scores = cast(PanopticScores, self.scores[stage])
        scores.update(prediction["segments"], prediction["labels"], batch["truth"])
        self.records.add(stage, matches=scores.latest)
        return prediction | {"matches": scores.latest}

    def on_eval_epoch_end(self, stage: Stage) -> None:
        scores = cast(PanopticScores, self.scores[stage])
        self.log_metrics({f"{stage}/{name}": value for name, value in scores.compute().items()})
        scores.reset()

    def statistics(self, columns: dict[str, np.ndarray]) -> list[Statistic]:
        rest = dict(columns)
        matches = rest.pop("matches", None)
        return means(rest) + ([] if matches is None else by_groups(matches, self.of_things.tolist()))

    def _maps(self, image: Tensor) -> list[Tensor]:
        return self.neck(self.backbone(image))


def targets(batch: Batch) -> list[Target]:
    """Targets of mask queries: masks of the segments by their numbers, and what belongs to none to be ignored."""
    found = []
    for segments, labels in zip(batch["segments"], batch["labels"], strict=True):
        numbers = torch.arange(1, len(labels) + 1, device=segments.device)
        found.append({"labels": labels, "masks": segments == numbers[:, None, None], "ignore": segments == 0})
    return found


def class_maps(batch: Batch) -> Tensor:
    """The class of each pixel by its segment, int64 (B, H, W), 255 for those of none."""
    maps = []
    for segments, labels in zip(batch["segments"], batch["labels"], strict=True):
        maps.append(torch.cat([labels.new_tensor([IGNORE]), labels])[segments.long()])
    return torch.stack(maps)
