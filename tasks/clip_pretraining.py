"""Base of pretraining methods on clips of videos."""

from copy import deepcopy
from typing import ClassVar

import torch

from modules.backbones.lora import merged
from modules.contracts import Batch, Prediction
from modules.export import ClipFeatures, Graph, Preprocess, clip_graph
from tasks.base import Stage
from tasks.clip_input import ClipInput
from tasks.pretraining import Pretraining


class ClipPretraining(ClipInput, Pretraining):
    """Base of self-supervised methods on clips; probes see the mean features of a video's clips."""

    required_keys: ClassVar[tuple[str, ...]] = ("video",)

    def views_in(self, batch: Batch) -> int:
        return len(batch["video"]) // len(batch["id"]) if "id" in batch else 1

    def eval_step(self, batch: Batch, index: int, stage: Stage) -> None:
        results = self.compute_loss(batch, torch.Generator().manual_seed(index))
        results.pop("embeddings", None)
        each, videos = results.pop("each", {}), len(batch["id"])
        self.records.add(stage, **{name: value.unflatten(0, (videos, -1)).mean(1) for name, value in each.items()})
        self.log_mean(stage, results, videos)

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        return {"features": self.features(batch["video"]).unflatten(0, (len(batch["id"]), -1)).mean(1)}

    def graphs(self, preprocess: Preprocess) -> dict[str, Graph]:
        network = deepcopy(ClipFeatures(merged(self.exported), self.fusion, self.pools)).eval()
        return {"model": clip_graph(preprocess, self.exported, network, ["features"], self.frames)}
