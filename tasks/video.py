"""Video classification: one class per clip, from one frame to 3-D convolution."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from modules.backbones.lora import merged
from modules.contracts import Batch, ConfigError, Prediction
from modules.contracts.data_info import DataInfo, class_names
from modules.export import ClipClassifier, Graph, Preprocess, clip_graph
from modules.heads import Linear
from modules.heads.base import ClassificationHead, HeadFactory
from modules.insight.targets import class_index, class_score
from modules.metrics.bootstrap import Statistic
from modules.metrics.bootstrap.answers import answers, of_answers
from modules.metrics.bootstrap.records import per_item
from tasks.base import Stage
from tasks.calibration import Calibrated
from tasks.clip_input import ClipInput


class Video(Calibrated, ClipInput):
    """Video classification: one class per video, with multi-clip, multi-crop testing.

    Args:
        classes: class names in order of their index; null takes the data's.
        head: classifier with its loss.
        calibrate: temperature scaling of the probabilities of a video (Guo et al. 2017): each validation finds the
            temperature with the least cross-entropy, which test, predict and exported files use.
    """

    required_keys: ClassVar[tuple[str, ...]] = ("video", "label")
    float32 = True
    monitor = "val/accuracy"
    mode = "max"
    protocols: ClassVar[dict[str, str]] = {
        "clip_accuracy": "top-1, micro: every view alone",
        "accuracy": "top-1, micro: mean probability of a video's views",
        "accuracy_top5": "top-5, micro: mean probability of a video's views",
        "accuracy_macro": "top-1, macro: mean over classes, of videos",
    }

    def __init__(
        self,
        classes: list[str] | None = None,
        head: HeadFactory[ClassificationHead] = Linear,
        calibrate: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        classes = class_names(classes, "model.classes")
        if not classes or len(classes) < 2:
            raise ConfigError("video classification needs at least two classes: from the data, or as --model.classes")
        self.classes, count = classes, len(classes)
        self.head = self.make_head(ClassificationHead, head, self.fusion.features, count)
        self.pools = self.fusion.pools or self.head.pools
        self.train_used()
        known = self.protocols | self.configure_calibration(calibrate, count)
        self.protocols = known | {"loss": f"{self.head.eval_protocol}, mean over views"}
        self.metrics = nn.ModuleDict({stage: nn.ModuleDict(_accuracies(count)) for stage in ("val", "test")})

    def on_data(self, data: DataInfo, stage: str) -> None:
        super().on_data(data, stage)
        if stage == "fit":
            self.head.balance(data.class_counts)

    def chance_loss(self) -> float | None:
        return self.head.chance_loss(len(self.classes or ()))

    def forward(self, video: Tensor) -> Tensor:
        """Normalized clips (N, 3, T, H, W) to logits (N, C)."""
        maps = self.fusion(self.backbone, video)
        return self.head(maps.end if self.head.pools else maps)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        logits, label = self(batch["video"]), batch["label"]
        loss = self.head.loss(logits, label)
        accuracy = (logits.argmax(1) == label).float().mean()
        self.log_step({"loss": loss, "accuracy": accuracy}, len(label))
        return loss

    def targets(self, batch: Batch, wanted: str | None = None) -> list[int]:
        found = self(batch["video"]).argmax(1).tolist()
        return found if wanted is None else [class_index(wanted, self.classes or ())] * len(found)

    def target_score(self, batch: Batch, targets: Sequence[int]) -> Tensor:
        return class_score(self(batch["video"]), targets)

    def graphs(self, preprocess: Preprocess) -> dict[str, Graph]:
        network = deepcopy(ClipClassifier(merged(self.backbone), self.fusion, self.head)).eval()
        outputs, settings = ["label", "scores"], {"temperature": self.temperature}
        return {"model": clip_graph(preprocess, self.backbone, network, outputs, self.frames, **settings)}

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        return self.calibrated(self._average_views(self.head.probabilities(self(batch["video"])), len(batch["id"])))

    def _average_views(self, scores: Tensor, videos: int) -> Prediction:
        """Average probabilities (B V, C) over the V consecutive views of each of B videos."""
        scores = scores.unflatten(0, (videos, -1)).mean(1)
        return {"label": scores.argmax(1), "scores": scores}

    def eval_step(self, batch: Batch, index: int, stage: Stage) -> Prediction:
        logits, label = self(batch["video"]), batch["label"]
        each = label.repeat_interleave(len(logits) // len(label))
        scores = self.head.probabilities(logits)
        prediction = self._average_views(scores, len(label))
        if stage == "test":
            prediction = self.calibrated(prediction)
        else:
            self.collect(prediction, label)
        for name, metric in self.metrics[stage].items():
            metric.update(*((scores, each) if name == "clip_accuracy" else (prediction["scores"], label)))
        self.log_mean(stage, {"loss": self.head.eval_loss(logits, each)}, len(each))
        if stage == "test":
            views = {
                "loss": per_item(self.head.eval_loss, logits, each),
                "clip_accuracy": (logits.argmax(1) == each).float(),
            }
            columns = {name: value.unflatten(0, (len(label), -1)).mean(1) for name, value in views.items()}
            self.records.add(stage, **answers(prediction, label), **columns)
        return prediction

    def score(self, prediction: Prediction, batch: Batch, stage: Stage) -> Prediction:
        """Update the metrics of videos; those of views need the views, which predictions do not have."""
        for name, metric in self.metrics[stage].items():
            if name != "clip_accuracy":
                metric.update(prediction["scores"], batch["label"])
        if stage == "test":
            self.records.add(stage, **answers(prediction, batch["label"]))
        return prediction

    def statistics(self, columns: dict[str, np.ndarray]) -> list[Statistic]:
        return of_answers(["accuracy_macro"], len(self.classes or ()), columns)

    def on_eval_epoch_end(self, stage: Stage) -> None:
        known: Any = self.metrics[stage]
        metrics = dict(known.items())
        if self.answered:
            metrics.pop("clip_accuracy")
        self.log_metrics({f"{stage}/{name}": metric.compute() for name, metric in metrics.items()})
        for metric in metrics.values():
            metric.reset()
        if stage == "val":
            self.choose_temperature()


def _accuracies(classes: int) -> dict[str, Metric]:
    top5 = {"accuracy_top5": MulticlassAccuracy(classes, top_k=5, average="micro")} if classes > 5 else {}
    return {
        "clip_accuracy": MulticlassAccuracy(classes, average="micro"),
        "accuracy": MulticlassAccuracy(classes, average="micro"),
        **top5,
        "accuracy_macro": MulticlassAccuracy(classes, average="macro"),
    }
