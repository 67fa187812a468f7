"""DINO: emerging properties in self-supervised vision transformers (Caron et al. 2021); with iBOT's masked tokens."""

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from modules.backbones.tokens import encode, token_grid, token_network
from modules.contracts import Backbone, Batch, ConfigError, check_range
from modules.heads import Prototypes
from modules.heads.base import Head, HeadFactory, PrototypeHead
from modules.losses.distillation import dino, entropy, masked_tokens, teacher_probabilities
from modules.pretext.masks import view_masks
from modules.training.accumulation import total_steps
from modules.training.teacher import Teacher
from tasks.pretraining import MomentumEncoderPretraining, positive


class DINO(MomentumEncoderPretraining):
    """Self-distillation without labels: match the momentum teacher's output on other crops of the image.

    The teacher sees the `data.views` global views, the student these and the `data.local_views`. The teacher is probed,
    evaluated and exported, as in the paper. Logged beside the loss: `teacher_entropy` (0 or ln K: collapsed) and `kl`,
    the Kullback-Leibler divergence of the student from the teacher; and `masked_loss` where it has a weight.

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
        masked_loss_weight: weight of iBOT's loss (Zhou et al. 2022): half of the global views lack blocks of patches
            before the student, which has to match the teacher's output on each of them, by the same head; 0 is off.
            The mean is over masked patches: 0.5 is the paper's 1, whose mean is over views with and without masks. For
            Vision Transformers of timm.
        mask_ratio: share of the patches that these views lack, (0, 1).
        momentum: of the teacher at the start, 0..1; higher follows more slowly.
        final_momentum: at the end; in between it follows a cosine, step by step.
    """

    views = (2, 100)
    protocols: ClassVar[dict[str, str]] = {
        "loss": "cross-entropy of student to teacher over pairs of different views",
        "teacher_entropy": "nats, 0..ln K: the teacher's certainty",
        "kl": "nats: Kullback-Leibler divergence of student from teacher",
        "masked_loss": "cross-entropy of student to teacher on masked patches",
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
        masked_loss_weight: float = 0.0,
        mask_ratio: float = 0.3,
        momentum: float = 0.996,
        final_momentum: float = 1.0,
        **kwargs,
    ):
        super().__init__(momentum=momentum, final_momentum=final_momentum, **kwargs)
        check_range("model.prototypes", prototypes, 2)  # one has all of every view, and the loss is 0
        positive(temperature=temperature, teacher_temperature=teacher_temperature)
        for name, share in (("teacher_warmup", teacher_warmup), ("center_momentum", center_momentum)):
            check_range(f"model.{name}", share, high=1)
        check_range("model.masked_loss_weight", masked_loss_weight)
        if not 0 < mask_ratio < 1:
            raise ConfigError(f"model.mask_ratio is {mask_ratio:g}, but must lie between 0 and 1")
        self.head = self.attach(PrototypeHead, head, prototypes)
        self.teacher = Teacher(self.backbone, self.head)
        self.register_buffer("center", torch.zeros(prototypes))
        self.masked_loss_weight, self.mask_ratio = masked_loss_weight, mask_ratio
        if masked_loss_weight:
            net = token_network(self.backbone, "model.masked_loss_weight")
            self.mask_token = nn.Parameter(0.02 * torch.randn(net.embed_dim))
            self.register_buffer("patch_center", torch.zeros(prototypes))
            if self.compiled:
                net.blocks.compile()  # which `encode` calls without the backbone around it
        self.centering, self.stateful_part = centering, "center" if centering == "mean" else ""
        self.temperature, self.teacher_temperature = temperature, teacher_temperature
        self.teacher_warmup, self.center_momentum, self.freeze_last = teacher_warmup, center_momentum, freeze_last

    @property
    def exported(self) -> Backbone:
        return self.teacher.backbone

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["backbone"]["prefix"] = "teacher.net.0.net."

    def chance_loss(self) -> float | None:
        """Logarithm of K: a student that gives all prototypes the same probability, whatever its teacher says.

        Once for views, and `masked_loss_weight` times for masked patches.
        """
        return (1 + self.masked_loss_weight) * math.log(len(self.center))

    def forward(self, image: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) to cosines with the prototypes (B, K)."""
        return self.answer(self.head, image)

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        views = batch["views"]
        large = [view for view in views if view.shape == views[0].shape]
        parts = [view for view in views if view.shape != views[0].shape]
        images, masked = torch.cat(large), {}
        if self.masked_loss_weight:
            logits, students, masked["masked_loss"] = self._masked(images, len(large), generator)
        else:
            logits, students = self.teacher(images).float(), self(images)
        students = [*students.chunk(len(large)), *(self(torch.cat(parts)).chunk(len(parts)) if parts else ())]
        teachers = list(self._targets(logits, self.center).chunk(len(large)))
        loss, certainty = dino(students, teachers, self.temperature), entropy(torch.stack(teachers))
        self._move_center(self.center, logits)
        found = {"teacher_entropy": certainty, "kl": loss.detach() - certainty, **masked}
        if masked:
            loss = loss + self.masked_loss_weight * masked["masked_loss"]
        return {"loss": loss, **found, "embeddings": torch.cat(students[: len(large)])}

    def _masked(self, images: Tensor, views: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (V * B, K) of the teacher, those of the student, which does not see all, and the loss of iBOT."""
        net, count = token_network(self.backbone, "model.masked_loss_weight"), len(images) // views
        grid = token_grid(net, images)
        number = max(1, round(self.mask_ratio * grid[0] * grid[1]))
        (drawn,) = self.of_this_device(count, lambda each: [view_masks(each, views, grid, number, generator)])
        hidden = drawn.transpose(0, 1).flatten(0, 1).to(images.device)  # view by view, as the images
        with torch.no_grad():
            teachers, targets = self._outputs(self.teacher.backbone, self.teacher.head, images, hidden)
        students, answers = self._outputs(self.backbone, self.head, images, hidden, self.mask_token)
        loss = masked_tokens(answers, self._targets(targets.float(), self.patch_center), self.temperature)
        self._move_center(self.patch_center, targets.float())
        return teachers.float(), students, loss

    def _outputs(
        self, backbone: Backbone, head: Head, images: Tensor, hidden: Tensor, token: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits of images (B, K), and of their patches that are hidden, (T, K)."""
        net = token_network(backbone, "model.masked_loss_weight")
        tokens = encode(net, images, hidden=hidden, mask_token=token)
        pooled = net.forward_head(tokens, pre_logits=True)
        logits = head(torch.cat([pooled, tokens[:, net.num_prefix_tokens :][hidden]]))
        return logits[: len(images)], logits[len(images) :]

    def _move_center(self, center: Tensor, logits: Tensor) -> None:
        if self.training and self.centering == "mean":
            mean = self.gather(logits.mean(0, keepdim=True)).mean(0)
            center.lerp_(mean.to(center), 1 - self.center_momentum)

    def on_before_optimizer_step(self, optimizer: Optimizer, *_: Any) -> None:
        if self.current_epoch < self.freeze_last:
            for parameter in self.head.last.parameters():
                parameter.grad = None

    def _targets(self, logits: Tensor, center: Tensor) -> Tensor:
        """Probabilities (B, K) of the teacher's logits."""
        temperature = self._teacher_temperature()
        if self.centering == "mean":
            return teacher_probabilities(logits, center, temperature)
        return self.balanced(logits, temperature)

    def _teacher_temperature(self) -> float:
        """Rises in a line from 0.04, or from less when the last is lower."""
        steps = self.teacher_warmup * total_steps(self.trainer) if self.trainer.training else 0
        done = min(self.trainer.global_step / steps, 1.0) if steps else 1.0
        first = min(0.04, self.teacher_temperature)
        return first + done * (self.teacher_temperature - first)
