"""Steps of image classification: mixing, adversarial images, consistency of views, auxiliary classifiers, crops."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from modules.backbones.auxiliary import auxiliaries
from modules.contracts import Batch, ConfigError, Prediction, check_range
from modules.contracts.data_info import DataInfo
from modules.decoding.crops import CropTest, Views, mean_over
from modules.heads.base import ClassificationHead
from modules.insight.targets import class_index, class_score
from modules.losses.classification import jensen_shannon
from modules.metrics.bootstrap.records import per_item
from modules.training.adversarial_training import AdversarialTraining
from modules.training.mixing import Mixer, Mixing
from modules.training.mixing.mixer import UNMIXED, Mix, gradient_saliency
from modules.training.teacher_hash import check_teacher, save_teacher
from tasks.base import Stage
from tasks.logit_distillation import Distill, LogitTeacher
from tasks.vision import VisionTask


class ClassificationTraining(VisionTask):
    """Base of the classifications of images: training and evaluation steps, and the checks of what changes them.

    `head` and `crop_test` are those of the task.
    """

    head: ClassificationHead
    crop_test: CropTest

    def on_data(self, data: DataInfo, stage: str) -> None:
        super().on_data(data, stage)
        if stage == "fit":
            self.check_fit()
            self.head.balance(data.class_counts)

    def configure_mixing(self, mixup: float, cutmix: float, mixing: Mixing) -> None:
        """Set how batches are mixed; see `Classification`.

        Raises:
            ConfigError: a value out of range, a layer that cannot be mixed, or layers of a compiled network.
        """
        for name, value in {"mixup": mixup, "cutmix": cutmix}.items():
            check_range(f"model.{name}", value)
        if mixing.hidden and self.compiled:
            raise ConfigError("model.mixing changes layers in the network, which model.compile fixes: leave out one")
        self.mixer = Mixer(mixup, cutmix, mixing, self.backbone)

    def configure_auxiliaries(self, weight: float, classes: int, levels: Sequence[int] | None) -> None:
        """Make the auxiliary classifiers, if their loss has a weight.

        Raises:
            ConfigError: a weight out of range, a frozen backbone, or levels without a weight or that are not there.
        """
        check_range("model.aux_loss_weight", weight)
        if levels is not None and not weight:
            raise ConfigError(
                f"model.aux_levels is {list(levels)}, but model.aux_loss_weight is 0: raise it, such as to 0.3, or "
                "leave the levels out"
            )
        if weight and self.frozen:
            raise ConfigError(
                "auxiliary classifiers help the backbone to learn, but it is frozen: set aux_loss_weight to 0"
            )
        self.aux_loss_weight = weight
        self.auxiliaries = auxiliaries(self.backbone, classes, levels) if weight else nn.ModuleList()

    def configure_robustness(self, robust: AdversarialTraining, jsd_weight: float) -> None:
        """Set adversarial training and the weight of the consistency of views, behind the other two.

        Raises:
            ConfigError: a weight out of range, or consistency with anything that changes images or labels.
        """
        check_range("model.jsd_weight", jsd_weight)
        self.robust, self.jsd_weight = robust, jsd_weight
        if not jsd_weight:
            return
        if self.mixer.kinds or self.aux_loss_weight or robust.method != "none":
            raise ConfigError(
                "model.jsd_weight compares views of one image: leave out mixup, cutmix, mixing, aux_loss_weight and "
                "adversarial"
            )
        self.views = (2, 8)

    def configure_distillation(self, distill: Distill) -> None:
        """Set the distillation of logits, behind all others.

        Raises:
            ConfigError: layers inside of the network are mixed, which the teacher does not see, views are compared, or
                the loss is of no softmax.
        """
        self.distill = LogitTeacher(distill) if distill.teacher else None
        if self.distill is None:
            return
        if self.mixer.settings.hidden or self.jsd_weight:
            raise ConfigError(
                "model.distill shows the teacher the images of the batch: leave out model.mixing of layers inside of "
                "the network, and jsd_weight"
            )
        loss = getattr(self.head, "kind", "cross_entropy")
        if loss not in ("cross_entropy", "focal"):
            raise ConfigError(
                f"model.distill compares softmax probabilities, but model.head.loss is {loss}: take cross_entropy or "
                "leave model.distill out"
            )

    @property
    def loss_protocol(self) -> str:
        """The loss of validation and test in words, without what training has beside it."""
        beside = {
            "distillation": self.distill,
            "auxiliary losses": self.aux_loss_weight,
            "consistency": self.jsd_weight,
        }
        more, said = " and ".join(name for name, used in beside.items() if used), self.head.eval_protocol
        plain = said.removesuffix(", as in training").removesuffix(" of training")
        return f"{plain}{' and' if 'without' in plain else ', without the'} {more} of training" if more else said

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if self.jsd_weight and "views" in batch:
            batch["image"], *batch["views"] = batch["views"]
        return super().on_after_batch_transfer(batch, dataloader_idx)

    def forward(self, image: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) to logits (B, C)."""
        return self.answer(self.head, image)

    @property
    def initialized(self) -> tuple[nn.Module, Callable[[Tensor], object]]:
        return self, self

    def targets(self, batch: Batch, wanted: str | None = None) -> list[int]:
        found = self(batch["image"]).argmax(1).tolist()
        return found if wanted is None else [class_index(wanted, self.classes or ())] * len(found)

    def target_score(self, batch: Batch, targets: Sequence[int]) -> Tensor:
        return class_score(self(batch["image"]), targets)

    def views_of(self, image: Tensor) -> Views:
        """Logits (B, C) of each view of normalized images (B, 3, H, W), with the head that gave them."""
        return [(self.head, list(self.crop_test.logits(self, self.backbone, self.head, image)))]

    def predicted(self, image: Tensor) -> tuple[Views, Prediction]:
        """Views by all networks, and the prediction by their mean."""
        raise NotImplementedError

    def judged(self, prediction: Prediction, true: Tensor, stage: Stage) -> Prediction:
        """The prediction of a batch of val or test as it is scored; here as it is."""
        return prediction

    def eval_step(self, batch: Batch, index: int, stage: Stage) -> Prediction:
        (views, prediction), true = self.predicted(batch["image"]), self.true(batch)
        prediction = self.judged(prediction, true, stage)
        self.score(prediction, batch, stage)
        loss = mean_over(views, lambda head, logits: head.eval_loss(logits, true))
        self.log_mean(stage, {"loss": loss}, len(true))
        if stage == "test":
            losses = mean_over(views, lambda head, logits: per_item(head.eval_loss, logits, true))
            self.records.add(stage, loss=losses)
        return prediction

    def true(self, batch: Batch) -> Tensor:
        """Classes int64 (B,) of a batch, or probabilities float (B, C)."""
        return batch["label"]

    def training_step(self, batch: Batch, index: int) -> Tensor:
        mix, classes = self._mix(batch, index), len(self.classes or ())
        image = mix.on_input(batch["image"])  # the batch stays as it is: SAM and L-BFGS evaluate it again
        label = mix.labels(self.true(batch), classes)
        if self.robust.method != "none":
            image = self._attacked(image, label, batch, index)
        if self.jsd_weight:  # one pass, with the statistics of all views
            image = torch.cat([image, *batch["views"]])
        with mix.inside(self.backbone.net):
            logits = self(image)
        label = mix.labels(label, classes)
        logits, *others = logits.split(len(label))
        loss = total = self.head.loss(logits, label)
        values: dict[str, Tensor | float] = {"loss": loss}
        if label.ndim == 1:  # mixed ones and tags are no class
            values["accuracy"] = (logits.argmax(1) == label).float().mean()
        if self.auxiliaries:
            auxiliary = torch.stack([self.head.loss(logits(), label) for logits in self.auxiliaries]).sum()
            values["loss_auxiliary"], total = auxiliary, total + self.aux_loss_weight * auxiliary
        if others:
            consistency = jensen_shannon([self.head.probabilities(one) for one in (logits, *others)])
            values["loss_consistency"], total = consistency, total + self.jsd_weight * consistency
        if self.distill is not None:
            soft = self.distill.loss(self, logits, image)
            values["loss_distillation"], total = soft, total + self.distill.distill.weight * soft
        self.log_step(values, len(label))
        return total

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if self.distill is not None:
            save_teacher(checkpoint, self.distill.source, self.distill.hash)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.distill is not None:
            check_teacher(checkpoint, self.distill.source, self.distill.hash, "model.distill.teacher")
        super().on_load_checkpoint(checkpoint)
        self.crop_test.set_trained_size(checkpoint.get("datamodule_hyper_parameters", {}).get("image_size"))

    def check_sides(self, sides: dict[str, int]) -> None:
        super().check_sides(sides)
        for option, side in list(sides.items())[:1]:
            self.mixer.check(self.backbone, side, side)
            if self.distill is not None and self.distill.loaded is not None:
                self.distill.check_side(self, side, option)

    def check_fit(self) -> None:
        """Refuse settings that training cannot go with.

        Raises:
            ConfigError: crops of larger images, which training does not see.
        """
        super().check_fit()
        if self.distill is not None:
            self.distill.load(self)
        if self.crop_test.tta.crops != "center":
            raise ConfigError(
                f"model.tta.crops {self.crop_test.tta.crops} is about validate, test and predict: leave it out of fit"
            )

    def _mix(self, batch: Batch, index: int) -> Mix:
        """The mixing of a batch in training, a function of seed, epoch and batch."""
        label, training = self.true(batch), self._trainer is not None and self.trainer.training

        def saliency(image: Tensor) -> Tensor:
            return gradient_saliency(lambda changed: self.head.loss(self(changed), label), image)

        return self.mixer.draw((self.data.seed, self.current_epoch, index), saliency) if training else UNMIXED

    def _attacked(self, image: Tensor, label: Tensor, batch: Batch, index: int) -> Tensor:
        """The batch's images, mixed or not, changed within the ball around each so that the loss of training rises."""

        def loss(logits: Tensor, label: Tensor) -> Tensor:
            return len(label) * self.head.loss(logits, label)

        ids = batch.get("id") or [(index, self.global_rank, place) for place in range(len(image))]
        keys = [(self.data.seed, self.current_epoch, name) for name in ids]
        return self.robust.attack(self, self.backbone, self, image, label, loss, keys)
