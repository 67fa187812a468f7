"""DINO: emerging properties in self-supervised vision transformers (Caron et al. 2021)."""

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from modules.contracts import Backbone, Batch, check_range
from modules.heads import Prototypes
from modules.heads.base import HeadFactory, PrototypeHead
from modules.losses.distillation import dino, entropy, sinkhorn, teacher_probabilities
from modules.training.accumulation import total_steps
from modules.training.teacher import Teacher
from tasks.pretraining import MomentumEncoderPretraining, positive


class DINO(MomentumEncoderPretraining):
    """Self-distillation without labels: match the momentum teacher's output on other crops of the image.

    The teacher sees the `data.views` global views, the student these and the `data.local_views`. The teacher is probed,
    evaluated and exported, as in the paper. Logged beside the loss: `teacher_entropy` (0 or ln K: collapsed) and `kl`,
    the Kullback-Leibler divergence of the student from the teacher.

    Args:
        head: projection head that ends in prototypes, its last layer in `last`; only the backbone is exported.
        prototypes: number K of prototypes.
        temperature: softmax temperature of the student.
        teacher_temperature: softmax temperature of the teacher after its warm-up; lower is sharper.
        teacher_warmup: share of the optimizer steps in which it rises from 0.04, 0..1.
        centering: avoidance of collapse: `mean` subtracts a running mean from the teacher's logits, `sinkhorn` balances
            prototypes over each batch (SwAV, DINOv2) and allows a sharper teacher.
        center_momentum: momentum of that running mean, 0..1.
        freeze_last: number of first epochs in which the last layer is frozen.
        momentum: of the teacher at the start, 0..1; higher follows more slowly.
        final_momentum: at the end; in between it follows a cosine, step by step.
    """

    views = (2, 100)
    repeatable = False
    protocols: ClassVar[dict[str, str]] = {
        "loss": "cross-entropy of student to teacher over pairs of different views",
        "teacher_entropy": "nats, 0..ln K: the teacher's certainty",
        "kl": "nats: Kullback-Leibler divergence of student from teacher",
    }

    def __init__(
        self,
        head: HeadFactory[PrototypeHead] = Prototypes,
        prototypes: int = 4096,
        temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        teacher_warmup: float = 0.3,
        centering: Literal["mean", "sinkhorn"] = "mean",
        center_momentum: float = 0.9,
        freeze_last: int = 1,
        momentum: float = 0.996,
        final_momentum: float = 1.0,
        **kwargs,
    ):
        super().__init__(momentum=momentum, final_momentum=final_momentum, **kwargs)
        positive(prototypes=prototypes, temperature=temperature, teacher_temperature=teacher_temperature)
        for name, share in (("teacher_warmup", teacher_warmup), ("center_momentum", center_momentum)):
            check_range(f"model.{name}", share, high=1)
        self.head = self.attach(PrototypeHead, head, prototypes)
        self.teacher = Teacher(self.backbone, self.head)
        self.register_buffer("center", torch.zeros(prototypes))
        self.centering = centering
        self.temperature, self.teacher_temperature = temperature, teacher_temperature
        self.teacher_warmup, self.center_momentum, self.freeze_last = teacher_warmup, center_momentum, freeze_last

    @property
    def exported(self) -> Backbone:
        return self.teacher.backbone

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["backbone"]["prefix"] = "teacher.net.0.net."

    def chance_loss(self) -> float | None:
        """Logarithm of K: a student that gives all prototypes the same probability, whatever its teacher says."""
        return math.log(len(self.center))

    def forward(self, image: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) to cosines with the prototypes (B, K)."""
        return self.answer(self.head, image)

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        views = batch["views"]
        large = [view for view in views if view.shape == views[0].shape]
        parts = [view for view in views if view.shape != views[0].shape]
        sizes = [group for group in (large, parts) if group]
        students = [logits for group in sizes for logits in self(torch.cat(group)).chunk(len(group))]
        logits = self.teacher(torch.cat(large)).float()
        teachers = list(self._targets(logits).chunk(len(large)))
        loss, certainty = dino(students, teachers, self.temperature), entropy(torch.stack(teachers))
        if self.training and self.centering == "mean":
            mean = self.gather(logits.mean(0, keepdim=True)).mean(0)
            self.center.lerp_(mean.to(self.center), 1 - self.center_momentum)
        embeddings = torch.cat(students[: len(large)])
        return {"loss": loss, "teacher_entropy": certainty, "kl": loss.detach() - certainty, "embeddings": embeddings}

    def on_before_optimizer_step(self, optimizer: Optimizer, *_: Any) -> None:
        if self.current_epoch < self.freeze_last:
            for parameter in self.head.last.parameters():
                parameter.grad = None

    def _targets(self, logits: Tensor) -> Tensor:
        """Probabilities (B, K) of the teacher's logits."""
        temperature = self._teacher_temperature()
        if self.centering == "mean":
            return teacher_probabilities(logits, self.center, temperature)
        if not self.training:  # the last batches of the devices may differ in size, so they cannot be gathered
            return sinkhorn(logits, temperature)
        return sinkhorn(self.gather(logits), temperature)[self.global_rank * len(logits) :][: len(logits)]

    def _teacher_temperature(self) -> float:
        """Rises in a line from 0.04, or from less when the last is lower."""
        steps = self.teacher_warmup * total_steps(self.trainer) if self.trainer.training else 0
        done = min(self.trainer.global_step / steps, 1.0) if steps else 1.0
        first = min(0.04, self.teacher_temperature)
        return first + done * (self.teacher_temperature - first)
