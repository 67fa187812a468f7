"""Image classification with any number of classes per image."""

from functools import partial
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from modules.backbones.fold_batchnorm import folded
from modules.contracts import Batch, ConfigError, Prediction
from modules.contracts.data_info import class_names
from modules.decoding.crops import CropTest, CropTTA, Views, averaged_protocols, mean_probabilities
from modules.export import Graph, Preprocess, TagClassifier, image_graph
from modules.heads import Linear
from modules.heads.base import ClassificationHead, HeadFactory
from modules.metrics.bootstrap import Statistic
from modules.metrics.bootstrap.tags import of_tags
from modules.metrics.multilabel import best_thresholds, summarize
from modules.metrics.score_bank import ScoreBank
from modules.metrics.threshold import USUAL
from modules.training.adversarial_training import AdversarialTraining
from modules.training.mixing import Mixing
from tasks.base import Stage
from tasks.classification_training import ClassificationTraining
from tasks.logit_distillation import Distill

PROTOCOLS = {
    "map": "average precision as scikit-learn's, macro: mean over classes that occur",
    "map_micro": "average precision of all pairs of image and class",
    "f1": "macro: mean over classes; each at its threshold of the best F1 on val",
    "f1_micro": "of all pairs of image and class, at the same thresholds",
    "f1_half": "macro, from a probability of .5 on",
    "exact_match": "share of images of which every class is right, at the thresholds",
}


class MultilabelClassification(ClassificationTraining):
    """Image classification with any number of classes per image, its tags: a probability for each class.

    A class is found from the threshold on that gave the highest F1 on the validation images; thresholds are in
    checkpoints, predictions and exported files.

    Args:
        classes: class names in order of their index; null takes the data's.
        head: classifier with a loss of one sigmoid per class, `binary` or `asymmetric`; null is `Linear` with `binary`.
        mixup: MixUp's alpha on training batches (Zhang et al. 2018); 0 is off.
        cutmix: CutMix's alpha on training batches (Yun et al. 2019); 0 is off. With both, each batch draws one of them.
        tta: test-time augmentation: average the probabilities of several crops, of all places, or of mirror images.
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image", "tags")
    monitor = "val/map"
    mode = "max"
    chosen = ("thresholds",)

    def __init__(
        self,
        classes: list[str] | None = None,
        head: HeadFactory[ClassificationHead] | None = None,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        tta: CropTTA = CropTTA(),
        **kwargs,
    ):
        super().__init__(**kwargs)
        classes = class_names(classes, "model.classes")
        if not classes:
            raise ConfigError("multi-label classification needs classes: from the data, or as --model.classes")
        self.classes = classes
        self.head = self.attach(ClassificationHead, head or partial(Linear, loss="binary"), len(classes))
        if not self.head.several:
            raise ConfigError(
                f"model.head.loss is {getattr(self.head, 'kind', self.head.loss_name)}, which is of one class per "
                "image: choose binary or asymmetric"
            )
        self.crop_test = CropTest(tta)
        self.configure_mixing(mixup, cutmix, Mixing())
        self.configure_auxiliaries(0.0, len(classes), None)
        self.configure_robustness(AdversarialTraining("none", "8/255", 7), 0.0)
        self.configure_distillation(Distill())
        self.thresholds = torch.full((len(classes),), USUAL)
        known = PROTOCOLS | {"loss": f"{self.loss_protocol}, mean over images"}
        self.protocols = averaged_protocols(known, tta, 1)  # pyrefly: ignore[read-only]
        self.scores = nn.ModuleDict({stage: ScoreBank(len(classes), tags=True) for stage in ("val", "test")})

    def chance_loss(self) -> float:
        return self.head.chance_loss(len(self.classes or ()))

    def true(self, batch: Batch) -> Tensor:
        return batch["tags"].float()

    def graphs(self, preprocess: Preprocess) -> dict[str, Graph]:
        network = TagClassifier(folded(self.backbone), self.head, self.crop_test, self.thresholds)
        return {"model": image_graph(preprocess, self.backbone, network, ["tags", "scores"])}

    def predicted(self, image: Tensor) -> tuple[Views, Prediction]:
        """Views, and the prediction by their mean."""
        views = self.views_of(image)
        scores = mean_probabilities(views)
        return views, {"tags": scores >= self.thresholds.to(scores.device), "scores": scores}

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        return self.predicted(batch["image"])[1]

    def score(self, prediction: Prediction, batch: Batch, stage: Stage) -> Prediction:
        self._scores(stage).update(prediction["scores"], batch["tags"])
        self.records.add(stage, scores=prediction["scores"].float(), tags=batch["tags"])
        return prediction

    def statistics(self, columns: dict[str, np.ndarray]) -> list[Statistic]:
        return of_tags(columns, self.thresholds.numpy())

    def on_eval_epoch_end(self, stage: Stage) -> None:
        scores, tags = self._scores(stage).compute()
        if stage == "val" and len(tags):
            self.thresholds = torch.from_numpy(best_thresholds(scores, tags))
        found = summarize(scores, tags > 0, self.thresholds.numpy())
        self.log_metrics({f"{stage}/{name}": torch.tensor(value) for name, value in found.items()})
        self._scores(stage).reset()

    def _scores(self, stage: Stage) -> ScoreBank:
        return cast(ScoreBank, self.scores[stage])
