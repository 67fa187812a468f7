"""Image classification: fine-tuned, from scratch, or as a linear probe."""

from functools import partial
from typing import ClassVar, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError, MulticlassF1Score

from modules.backbones.fold_batchnorm import folded
from modules.backbones.size import published as published_size
from modules.contracts import Batch, ConfigError, Prediction
from modules.contracts.data_info import DataInfo, class_names
from modules.decoding.crops import CropTest, CropTTA, Views, averaged_protocols, mean_probabilities
from modules.export import Classifier, Graph, Preprocess, image_graph
from modules.heads import Linear, published
from modules.heads.base import ClassificationHead, HeadFactory
from modules.metrics.bootstrap import Statistic
from modules.metrics.bootstrap.answers import answers, of_answers
from modules.training.adversarial_training import AdversarialTraining, Method
from modules.training.growing import grow_head
from modules.training.mixing import Mixing
from tasks.base import Stage
from tasks.calibration import Calibrated
from tasks.classification_training import ClassificationTraining
from tasks.ensemble import Ensemble
from tasks.logit_distillation import Distill


class Classification(Calibrated, ClassificationTraining):
    """Image classification: one class (or several, with `head.loss: binary`) per image.

    `frozen: true` is the linear probe; `optim.layer_decay` gives lower layers lower learning rates.

    Args:
        classes: class names in order of their index; null takes the data's, or those of `head: pretrained`.
        head: classifier with its loss; its settings (`loss`, `label_smoothing`, `dropout`, ...) are in
            `--model.head.help`. `pretrained` is the published classifier of the backbone (mostly 1,000 ImageNet
            classes); its weights come with `weights: pretrained` or the library's file.
        mixup: MixUp's alpha on training batches (Zhang et al. 2018); 0 is off.
        cutmix: CutMix's alpha on training batches (Yun et al. 2019); 0 is off. With both, each batch draws one of them.
        mixing: manifold mixup, PatchUp and PuzzleMix on training batches.
        jsd_weight: weight of the Jensen-Shannon divergence of the answers to several views of an image, 12 in AugMix
            (Hendrycks et al. 2020); needs `data.views` 3 and `data.consistent_views`. 0 is without.
        aux_loss_weight: weight of the loss of each auxiliary classifier inside the backbone, in training; 0 is without
            them. `inception_v1` and `googlenet` were published with two, at 0.3 (Szegedy et al. 2015), `inception_v3`
            with one, at 0.4; a DenseNet has them behind all dense blocks but the last.
        aux_levels: levels of the backbone's maps, from 0, that get such a classifier, of any network (deep supervision,
            Lee et al. 2015), such as [1, 2]; null is where the network was published with them.
        adversarial: adversarial training: each batch is changed within `adversarial_eps` so that its loss rises, by
            projected gradient descent (`pgd`, Madry et al. 2018) or one step of it (`fgsm`, Wong et al. 2020).
            Accuracy and loss of the training are those of changed images.
        adversarial_eps: largest change of a pixel of 0..1, as a number or a fraction such as 8/255.
        adversarial_steps: gradient steps of `pgd`; n of them make a training step n + 1 times as long.
        distill: distillation of the logits of a trained run in training (Hinton et al. 2015).
        tta: test-time augmentation: average the probabilities of several crops, of all places, or of mirror images.
        calibrate: temperature scaling (Guo et al. 2017): each validation finds the temperature with the least
            cross-entropy; test, predict and exported files divide the logarithms of the probabilities by it. An
            ensemble has none.
        ensemble: other runs whose probabilities are averaged with those of this one, outside of training; run
            directories or .ckpt files, separated by commas.
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image", "label")
    monitor = "val/accuracy"
    mode = "max"
    protocols: ClassVar[dict[str, str]] = {
        "accuracy": "top-1, micro: mean over images",
        "accuracy_top5": "top-5, micro: mean over images",
        "f1": "macro: mean over classes",
        "calibration_error": "expected, 15 bins of the highest probability, L1",
    }

    def __init__(
        self,
        classes: list[str] | None = None,
        head: Literal["pretrained"] | HeadFactory[ClassificationHead] = Linear,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        mixing: Mixing = Mixing(),
        jsd_weight: float = 0.0,
        aux_loss_weight: float = 0.0,
        aux_levels: list[int] | None = None,
        adversarial: Method = "none",
        adversarial_eps: float | str = "8/255",
        adversarial_steps: int = 7,
        distill: Distill = Distill(),
        tta: CropTTA = CropTTA(),
        calibrate: bool = False,
        ensemble: list[str] | str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        classes = class_names(classes, "model.classes")
        self.published = head == "pretrained"
        if self.published:
            classes, head = classes or self.backbone.class_names(), partial(published, backbone=self.backbone)
        if not classes or len(classes) < 2:
            raise ConfigError("classification needs at least two classes: from the data, or as --model.classes")
        self.classes, count = classes, len(classes)
        self.head = self.attach(ClassificationHead, head, count)
        if self.published:  # some see tokens or the last map, but the features are the published ones
            self.pools = True
            self.train_used()
        self.crop_test = CropTest(tta)
        if self.published:
            self.crop_test.set_trained_size(min(published_size(self.backbone)))
        self.ensemble = Ensemble(ensemble)
        self.configure_mixing(mixup, cutmix, mixing)
        self.configure_auxiliaries(aux_loss_weight, count, aux_levels)
        self.configure_robustness(AdversarialTraining(adversarial, adversarial_eps, adversarial_steps), jsd_weight)
        self.configure_distillation(distill)
        known = (
            self.protocols
            | self.configure_calibration(calibrate, count)
            | {"loss": f"{self.loss_protocol}, mean over images"}
        )
        self.protocols = averaged_protocols(known, tta, 1 + len(self.ensemble.runs))
        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(count, average="micro"),
                "f1": MulticlassF1Score(count, average="macro"),
                "calibration_error": MulticlassCalibrationError(count, n_bins=15, norm="l1"),
            }
            | ({"accuracy_top5": MulticlassAccuracy(count, top_k=5, average="micro")} if count > 5 else {})
        )
        self.metrics = nn.ModuleDict({s: metrics.clone(prefix=f"{s}/") for s in ("val", "test")})

    def on_data(self, data: DataInfo, stage: str) -> None:
        super().on_data(data, stage)
        if stage == "fit" and self.robust.method != "none":
            rank_zero_info(f"adversarial training by {self.robust.method}: {self.robust.cost}")

    def _load(self) -> None:
        super()._load()
        if self.weights and (said := grow_head(self.head, self.classes or [], self.backbone, self.weights)):
            rank_zero_info(said)

    def check_fit(self) -> None:
        """Refuse settings that training cannot go with.

        Raises:
            ConfigError: crops of larger images, which training does not see, or an ensemble.
        """
        if self.ensemble.runs:
            raise ConfigError("model.ensemble is about validate, test and predict: leave it out of fit")
        super().check_fit()

    def chance_loss(self) -> float | None:
        more = self.aux_loss_weight * len(self.auxiliaries)
        return None if self.published else (1 + more) * self.head.chance_loss(len(self.classes or ()))

    @property
    def classifier(self) -> nn.Module | None:
        return self.head.fc if self.published else None

    def graphs(self, preprocess: Preprocess) -> dict[str, Graph]:
        if self.ensemble.runs:
            raise ConfigError("model.ensemble has several networks, but a file holds one: leave it out to export")
        network = Classifier(folded(self.backbone), self.head, self.crop_test, self.temperature)
        return {"model": image_graph(preprocess, self.backbone, network, ["label", "scores"])}

    def predicted(self, image: Tensor) -> tuple[Views, Prediction]:
        """Views by all networks, and the prediction by their mean."""
        views = self.views_of(image) + self.ensemble.views(self, image)
        scores = mean_probabilities(views)
        return views, {"label": scores.argmax(1), "scores": scores}

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        return self.calibrated(self.predicted(batch["image"])[1])

    def calibrated(self, prediction: Prediction) -> Prediction:
        return prediction if self.ensemble.runs else super().calibrated(prediction)

    def judged(self, prediction: Prediction, true: Tensor, stage: Stage) -> Prediction:
        if stage == "test":
            return self.calibrated(prediction)
        self.collect(prediction, true)
        return prediction

    def score(self, prediction: Prediction, batch: Batch, stage: Stage) -> Prediction:
        self.metrics[stage].update(prediction["scores"], batch["label"])
        if stage == "test":
            self.records.add(stage, **answers(prediction, batch["label"]))
        return prediction

    def statistics(self, columns: dict[str, np.ndarray]) -> list[Statistic]:
        return of_answers(["f1"], len(self.classes or ()), columns)

    def on_eval_epoch_end(self, stage: Stage) -> None:
        self.log_metrics(self.metrics[stage].compute())
        self.metrics[stage].reset()
        if stage == "val":
            self.choose_temperature()
