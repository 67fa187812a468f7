"""I-JEPA: self-supervised learning with a joint-embedding predictive architecture (Assran et al. 2023)."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from modules.backbones.tokens import encode, take, token_grid, token_network
from modules.contracts import Backbone, Batch, ConfigError, check_sizes
from modules.heads.base import Head
from modules.pretext.masks import context_and_targets
from modules.pretext.token_decoder import TokenDecoder
from modules.training.teacher import Teacher
from tasks.pretraining import Costs, MomentumEncoderPretraining


class NormalizedTokens(Head):
    """Last map (B, D, h, w) to its cells (B, h * w, D), each with mean 0 and deviation 1."""

    def forward(self, *inputs: Any) -> Tensor:
        (maps,) = inputs
        cells = maps[-1].flatten(2).transpose(1, 2)
        return functional.layer_norm(cells.float(), cells.shape[-1:])


class IJEPA(MomentumEncoderPretraining):
    """Predict the features that a momentum teacher has of blocks of patches, from a context block without them.

    The student, a Vision Transformer of timm, sees the context alone, the teacher the whole image. The teacher is
    probed, evaluated and exported, as in the paper.

    Args:
        num_targets: number of target blocks of an image.
        target_scale: least and largest share of the image that a target block has, 0..1.
        context_scale: the same of the context block, before the target blocks are taken out of it.
        loss: of normalized features: `smooth_l1`, as in the authors' code, or `l2`, as in the paper.
        predictor_width: of the transformer that predicts; a multiple of 4 and of `predictor_heads`.
        predictor_depth: number of its blocks.
        predictor_heads: of its attention.
        momentum: of the teacher at the start, 0..1; higher follows more slowly.
        final_momentum: at the end; in between it follows a cosine, step by step.
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image",)
    protocols: ClassVar[dict[str, str]] = {"loss": "distance of predicted features from the teacher's, normalized"}

    def __init__(
        self,
        num_targets: int = 4,
        target_scale: tuple[float, float] = (0.15, 0.2),
        context_scale: tuple[float, float] = (0.85, 1.0),
        loss: Literal["smooth_l1", "l2"] = "smooth_l1",
        predictor_width: int = 384,
        predictor_depth: int = 6,
        predictor_heads: int = 12,
        momentum: float = 0.996,
        final_momentum: float = 1.0,
        **kwargs,
    ):
        super().__init__(momentum=momentum, final_momentum=final_momentum, **kwargs)
        check_sizes("model", num_targets=num_targets)
        for name, (least, most) in (("target_scale", target_scale), ("context_scale", context_scale)):
            if not 0 < least <= most <= 1:
                raise ConfigError(f"model.{name} is [{least:g}, {most:g}], but must rise within 0..1")
        net = token_network(self.backbone, "IJEPA")
        self.predictor = TokenDecoder(
            net.embed_dim, net.embed_dim, predictor_width, predictor_depth, predictor_heads, "predictor"
        )
        self.teacher = Teacher(self.backbone, NormalizedTokens())
        self.num_targets, self.target_scale, self.context_scale = num_targets, target_scale, context_scale
        self.distance = functional.smooth_l1_loss if loss == "smooth_l1" else functional.mse_loss
        if self.compiled:
            net.blocks.compile()  # which `encode` calls without the backbone around it

    def check_sides(self, sides: dict[str, int]) -> None:
        super().check_sides(sides)
        for side in sides.values():
            token_grid(token_network(self.backbone, "IJEPA"), torch.empty(1, 1, side, side, device="meta"))

    @property
    def exported(self) -> Backbone:
        return self.teacher.backbone

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["backbone"]["prefix"] = "teacher.net.0.net."

    def forward(self, image: Tensor, context: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted features (B, M, L, D) of target blocks (B, M, L), and tokens (B, P + K, D) of a context (B, K)."""
        net = token_network(self.backbone, "IJEPA")
        tokens, blocks = encode(net, image, context), targets.shape[1]
        each = (part.repeat_interleave(blocks, 0) for part in (tokens, context))  # blocks do not see each other
        predicted = self.predictor(*each, targets.flatten(0, 1), token_grid(net, image))
        return predicted.unflatten(0, (-1, blocks)), tokens

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> Costs:
        image = batch["image"]
        grid = token_grid(token_network(self.backbone, "IJEPA"), image)
        scales = (self.target_scale, self.context_scale)
        masks = self.of_this_device(
            len(image), lambda images: context_and_targets(images, grid, self.num_targets, *scales, generator)
        )
        context, targets = (places.to(image.device) for places in masks)
        predicted, tokens = self(image, context, targets)
        wanted = take(self.teacher(image), targets.flatten(1)).unflatten(1, targets.shape[1:])
        each = self.distance(predicted.float(), wanted, reduction="none").mean((1, 2, 3))
        return {"loss": each.mean(), "embeddings": tokens.mean(1), "each": {"loss": each.detach()}}
