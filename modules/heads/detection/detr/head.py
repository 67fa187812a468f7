"""DETR on any pyramid: a set of boxes without anchors to fit and without non-maximum suppression."""

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from modules.contracts import ConfigError, Features, check_range, check_sizes
from modules.decoding.boxes import Detection
from modules.heads.detection.base import DetectionHead, Target
from modules.heads.detection.detr.attention import HEADS
from modules.heads.detection.detr.decoder import Answers, CrossAttention, Decoder, Queries, QuerySelection
from modules.heads.detection.detr.encoder import HybridEncoder
from modules.heads.detection.detr.losses import ClassLoss, corners, denoised, matched, set_losses
from modules.heads.detection.detr.targets import Denoising, Noise, Objects, objects_of
from modules.heads.queries.surplus import Surplus


class DETR(DetectionHead):
    """DETR as RT-DETR has it: each object is found by one query, so that there is no NMS (Carion et al. 2020).

    A hybrid encoder fuses the maps (Zhao et al. 2024), the cells most like an object become queries, and each layer of
    the decoder moves their boxes on by deformable attention (Zhu et al. 2021); denoising queries help in training
    (Zhang et al. 2023). Works on the backbone's own maps (NoNeck) or a neck's. Losses, each the sum over all layers:
    classifier, box (L1 in shares of the image), giou. Test-time augmentation and tiles merge their views by NMS at an
    IoU of 0.5.

    Args:
        features: feature pyramid of the backbone or neck.
        outputs: number of classes C.
        width: channels of encoder and decoder, a multiple of 8.
        layers: of the decoder.
        queries: most objects of an image; training leaves out what is above it.
        attention: of queries to maps: `deformable` samples a few points of each map, `dense` reads all cells.
        class_loss: `varifocal` learns the IoU of a box as its score (Zhang et al. 2021), `focal` 0 or 1.
        denoising: denoising queries of each image in training, about; 0 is off.
        finest: stride of the finest map to use.
        score_threshold: lowest score of a detection, 0..1.
        detections: most in one image.

    Raises:
        ConfigError: a width that 8 does not divide, or no map of stride `finest` or coarser.
    """

    def __init__(
        self,
        features: Features,
        outputs: int,
        width: int = 256,
        layers: int = 3,
        queries: int = 300,
        attention: CrossAttention = "deformable",
        class_loss: ClassLoss = "varifocal",
        denoising: int = 100,
        finest: int = 8,
        score_threshold: float = 0.05,
        detections: int = 100,
    ):
        super().__init__(score_threshold=score_threshold, detections=detections)
        check_sizes("head", width=width, layers=layers, queries=queries, finest=finest)
        check_range("head.denoising", denoising)
        if width % HEADS:
            raise ConfigError(f"head.width is {width}, but {HEADS} heads of attention share it: set a multiple of them")
        self.used = [i for i, stride in enumerate(features.strides) if stride >= finest]
        if not self.used:
            raise ConfigError(f"head.finest is {finest}, but the maps have strides {features.strides}: choose one")
        features = Features([features.channels[i] for i in self.used], [features.strides[i] for i in self.used])
        self.encoder = HybridEncoder(features, width)
        self.query_selection = QuerySelection(width, outputs, queries)
        self.decoder = Decoder(width, outputs, layers, len(self.used), attention)
        self.denoising = Denoising(width, outputs, denoising) if denoising else None
        self.class_loss: ClassLoss = class_loss
        self.surplus = Surplus(queries)

    def places_for(self, counts: np.ndarray) -> str | None:
        return self.surplus.line(counts)

    def forward(  # pyrefly: ignore[bad-override]
        self,
        image: Tensor,
        maps: list[Tensor],
        inside: Tensor,
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> tuple[list[Detection], dict[str, Tensor]]:
        """See `Detector`; proposals are ignored."""
        truth = None if targets is None else objects_of(targets, inside)
        if truth is not None and self.training:
            self.surplus.warn(truth.counts)
        noise = self.denoising(truth) if self.training and self.denoising is not None and truth is not None else None
        queries, first, answers = self.answers(maps, inside, noise)
        losses = {} if truth is None else self._losses(queries, first, answers, truth, noise)
        return [] if self.training else self._decode(queries, answers, inside), losses

    def answers(
        self, maps: list[Tensor], inside: Tensor, noise: Noise | None = None
    ) -> tuple[Queries, Answers, Answers]:
        """The chosen queries, the encoder's answers about them, and those of all layers (L, B, Q, ...).

        Denoising queries come before the chosen ones in the answers of the layers.
        """
        memory = self.encoder([maps[i] for i in self.used], inside)
        queries, first = self.query_selection(memory)
        if noise is None:
            return queries, first, self.decoder(queries, memory, queries.real[:, None, None])
        both = Queries(*(torch.cat([a.to(b.dtype), b], 1) for a, b in zip(noise.queries, queries, strict=True)))
        own = torch.full((self.query_selection.queries,), -1, device=noise.group.device)
        group = torch.cat([noise.group, own])  # those of a group see it and the chosen ones, which see no group
        seen = (group == group[:, None]) | (group == -1)
        return queries, first, self.decoder(both, memory, (seen & both.real[:, None])[:, None])

    def scores(self, queries: Queries, answers: Answers) -> Tensor:
        """Scores (B, Q, C) of the last layer, 0 for queries that only fill up."""
        return answers.logits[-1].sigmoid() * queries.real[..., None]

    def _losses(
        self, queries: Queries, first: Answers, answers: Answers, truth: Objects, noise: Noise | None
    ) -> dict[str, Tensor]:
        """Sums over the encoder's answers, those of each layer, and those of denoising queries, per object."""
        layers, many = len(answers.logits), queries.real.shape[1]
        last = Answers(
            *(
                torch.cat([one[None], each[:, :, -many:]]).flatten(0, 1)
                for one, each in zip(first, answers, strict=True)
            )
        )
        every, real = truth.repeated(layers + 1), queries.real.repeat(layers + 1, 1)
        pairs = matched(last, every, real.sum(1).tolist())
        objects = max(1, sum(truth.counts))
        losses = set_losses(last, real, every, pairs, self.class_loss)
        losses = {name: loss / objects for name, loss in losses.items()}
        if noise is not None:
            noisy = Answers(*(each[:, :, :-many].flatten(0, 1) for each in answers))
            every, real = truth.repeated(layers), noise.queries.real.repeat(layers, 1)
            more = set_losses(noisy, real, every, denoised(every, noise), self.class_loss)
            losses = {name: loss + more[name] / (objects * noise.groups) for name, loss in losses.items()}
        elif self.denoising is not None and self.training:  # no objects: all parameters still take part
            losses["classifier"] = losses["classifier"] + 0 * self.denoising.classes.weight.sum()
        return losses

    def _decode(self, queries: Queries, answers: Answers, inside: Tensor) -> list[Detection]:
        scores, size = self.scores(queries, answers), inside.flip(1).repeat(1, 2)
        classes = scores.shape[2]
        boxes = corners(answers.boxes[-1]) * size[:, None]
        scores, which = scores.flatten(1).topk(min(self.selection.detections, scores[0].numel()))
        found = []
        for i, shape in enumerate(inside.tolist()):
            sure = scores[i] > self.selection.score_threshold
            chosen = which[i][sure]
            box = clip_boxes_to_image(boxes[i][chosen // classes], tuple(shape))
            found.append(self.selection.select({"boxes": box, "scores": scores[i][sure], "labels": chosen % classes}))
        return found
