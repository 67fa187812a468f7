"""Networks of exported graphs: normalized images and their geometry to decoded answers, as the tasks predict."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from modules.backbones.fold_batchnorm import folded
from modules.contracts import Backbone
from modules.decoding.crops import CropTest, mean_probabilities
from modules.decoding.temperature import scaled
from modules.decoding.tta import Predict
from modules.export.graph import Graph, image_graph
from modules.export.preprocess import Geometry, Preprocess
from modules.export.resize import top_left
from modules.heads.base import ClassificationHead, DenseHead, through
from modules.heads.queries import SemanticQueries


class Classifier(nn.Module):
    """Class int64 (B,) and probabilities float32 (B, C), the mean over the views of a `CropTest`."""

    def __init__(self, backbone: Backbone, head: ClassificationHead, crop_test: CropTest, temperature: float = 1.0):
        super().__init__()
        self.backbone, self.head, self.crop_test, self.temperature = backbone, head, crop_test, temperature

    def forward(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
        predict = partial(through, self.backbone, self.head)
        logits = self.crop_test.logits(predict, self.backbone, self.head, image)
        scores = scaled(mean_probabilities([(self.head, list(logits))]), self.temperature)
        return scores.argmax(1), scores


class TagClassifier(Classifier):
    """Classes found, bool (B, C), and probabilities float32 (B, C), the mean over the views of a `CropTest`."""

    def __init__(self, backbone: Backbone, head: ClassificationHead, crop_test: CropTest, thresholds: Tensor):
        super().__init__(backbone, head, crop_test)
        self.register_buffer("thresholds", thresholds.clone())

    def forward(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
        _, scores = super().forward(image, geometry)
        return scores >= self.thresholds, scores


class ClipClassifier(nn.Module):
    """Class int64 (B,) and probabilities float32 (B, C) of clips (B, 3, T, h, w).

    Args:
        backbone: of the frames or of clips.
        fusion: of the frames.
        head: on pooled features or on maps.
    """

    def __init__(self, backbone: Backbone, fusion: nn.Module, head: ClassificationHead):
        super().__init__()
        self.backbone, self.fusion, self.head = backbone, fusion, head

    def forward(self, video: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
        maps = self.fusion(self.backbone, video)
        scores = self.head.probabilities(self.head(maps.end if self.head.pools else maps))
        return scores.argmax(1), scores


class ClipFeatures(nn.Module):
    """Features float32 (B, D) of clips (B, 3, T, h, w).

    Args:
        backbone: of the frames or of clips.
        fusion: of the frames.
        pools: take the pooled features, else the mean of the coarsest map.
    """

    def __init__(self, backbone: Backbone, fusion: nn.Module, pools: bool):
        super().__init__()
        self.backbone, self.fusion, self.pools = backbone, fusion, pools

    def forward(self, video: Tensor, geometry: Geometry) -> tuple[Tensor]:
        maps = self.fusion(self.backbone, video)
        return ((maps.end if self.pools else maps[-1].mean((-2, -1))).float(),)


class FeatureExtractor(nn.Module):
    """Features float32 (B, D): pooled as published, or the mean of the coarsest map.

    Args:
        backbone: the exported one.
        pools: take the pooled features.
    """

    def __init__(self, backbone: Backbone, pools: bool):
        super().__init__()
        self.backbone, self.pools = backbone, pools

    def forward(self, image: Tensor, geometry: Geometry) -> tuple[Tensor]:
        maps = self.backbone(image)
        return ((self.backbone.pool(maps) if self.pools else maps[-1].mean((-2, -1))).float(),)


def feature_graphs(preprocess: Preprocess, backbone: Backbone, pools: bool) -> dict[str, Graph]:
    """Graphs of a file that gives `features` (B, D); arguments as `FeatureExtractor`."""
    network = FeatureExtractor(folded(backbone), pools)
    return {"model": image_graph(preprocess, backbone, network, ["features"])}


class Segmenter(nn.Module):
    """Class of every pixel of the original image, uint8 (B, H, W); with `probabilities` also those, (B, C, H, W).

    Args:
        backbone: of the network.
        neck: of the network.
        head: of the network.
        infer: normalized images and a function from them to logits, to probabilities (B, C, h, w), as
            `modules.decoding.dense.infer`.
        resized: the network sees images in another size than their own.
        probabilities: give them too.
    """

    def __init__(
        self,
        backbone: Backbone,
        neck: nn.Module,
        head: DenseHead | SemanticQueries,
        infer: Callable[[Predict, Tensor], Tensor],
        resized: bool,
        probabilities: bool,
    ):
        super().__init__()
        self.backbone, self.neck, self.head = backbone, neck, head
        self.infer, self.resized, self.probabilities = infer, resized, probabilities

    def logits(self, image: Tensor) -> Tensor:
        if isinstance(self.head, SemanticQueries):
            return self.head.logits(image, self.maps)
        return nn.functional.interpolate(self.head(self.maps(image)).float(), image.shape[-2:], mode="bilinear")

    def maps(self, image: Tensor) -> list[Tensor]:
        return self.neck(self.backbone(image))

    def forward(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, ...]:
        found = self.infer(self.logits, image)
        if self.resized:
            found = nn.functional.interpolate(top_left(found, geometry.inside), geometry.size, mode="bilinear")
        mask = found.argmax(1).to(torch.uint8)
        return (mask, found) if self.probabilities else (mask,)
