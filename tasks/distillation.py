"""Distillation of features: a student backbone learns to give those of a trained one."""

from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from modules.contracts import Batch, ConfigError
from modules.heads import Projection
from modules.heads.base import EmbeddingHead, HeadFactory
from modules.losses.distillation import similarity_to_queue
from modules.training.embedding_queue import Queue
from modules.training.pretrained_teacher import PretrainedTeacher
from modules.training.teacher_hash import check_teacher, save_teacher
from tasks.pretraining import Costs, Pretraining, positive

Form = Literal["cosine", "mse", "queue"]


class Distillation(Pretraining):
    """Distillation of pooled features without labels, by cosine, mean squared error or similarities to a queue.

    Any student learns from any teacher: a head projects its features to the width of those of the teacher, which sees
    the same augmented image. Only the student is saved; its teacher is read again when a run is resumed, validated or
    tested.

    Args:
        teacher: its weights: a run directory, a .ckpt of any task here, a backbone.safetensors, `hf-hub:OWNER/NAME`, or
            `pretrained` for those of its library.
        teacher_backbone: its name; null is read from the weights, which say it unless they are a library's. Checkpoints
            hold all that is known of it, so that they are used without the teacher.
        loss: `cosine`: 1 minus the cosine of student and teacher; `mse`: mean squared error; `queue`: cross-entropy of
            their similarities to the teacher's features of earlier images (Fang et al. 2021).
        head: projection head; null is one linear layer. Only the backbone is kept afterward.
        queue_size: features of earlier images for `queue`; those of a step, of all devices, must fit.
        temperature: divides the similarities of `queue`.
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image",)
    protocols: ClassVar[dict[str, str]] = {
        "loss": "student against teacher: 1 minus cosine, squared error, or cross-entropy of similarities (model.loss)"
    }

    def __init__(
        self,
        teacher: str | None = None,
        teacher_backbone: str | dict[str, Any] | None = None,
        loss: Form = "cosine",
        head: HeadFactory[EmbeddingHead] | None = None,
        queue_size: int = 4096,
        temperature: float = 0.1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        positive(queue_size=queue_size, temperature=temperature)
        self.teacher = PretrainedTeacher(teacher, teacher_backbone, self.backbone.in_channels)
        self.hparams["teacher_backbone"] = self.teacher.about  # a checkpoint is built without the teacher's file
        width = self.teacher.width
        self.head = self.attach(EmbeddingHead, head or partial(Projection, layers=1), width)
        if loss == "queue":
            self.stateful_part = "queue"
            self.refuse_averages("a queue of embeddings, of which an average means nothing")
        self.form, self.temperature = loss, temperature
        self.queue = Queue(queue_size, width) if loss == "queue" else None

    def check_fit(self) -> None:
        super().check_fit()
        self.teacher.check_student(self.backbone, self.weights)
        self.teacher.load()

    def setup(self, stage: str) -> None:
        if stage in ("validate", "test"):
            self.teacher.load()
        super().setup(stage)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        save_teacher(checkpoint, self.teacher.source, self.teacher.hash)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_teacher(checkpoint, self.teacher.source, self.teacher.hash, "model.teacher")
        super().on_load_checkpoint(checkpoint)

    def check_sides(self, sides: dict[str, int]) -> None:
        super().check_sides(sides)
        for option, side in list(sides.items())[:1] if self.teacher.loaded else ():
            self.teacher.check_side(side, option)

    def check_batch(self, size: int) -> None:
        super().check_batch(size)
        step = size * self.trainer.world_size
        if self.queue is not None and step > len(self.queue.keys):
            raise ConfigError(
                f"model.queue_size is {len(self.queue.keys)}, but a step has {step} images: raise it to that or more"
            )

    def forward(self, image: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) to features (B, D) as wide as the teacher's."""
        return self.answer(self.head, image)

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> Costs:
        image = batch["image"]
        found, wanted = self(image), self.teacher.features(image, self.backbone)
        each = self._each(found.float(), wanted)
        if self.queue is not None and generator is None:
            self.queue.push(self.gather(functional.normalize(wanted)))
        return {"loss": each.mean(), "embeddings": found, "each": {"loss": each}}

    def _each(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Loss (B,) of each image."""
        if self.queue is not None:
            return similarity_to_queue(found, wanted, self.queue.keys.clone(), self.temperature)
        if self.form == "mse":
            return (found - wanted).square().mean(1)
        return 1 - functional.cosine_similarity(found, wanted)
