"""Mask queries as a dense head: segments from a semantic map, probabilities of classes from the answers."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from modules.contracts import IGNORE, Backbone, ConfigError, Features, Neck
from modules.heads.base import DenseHead, Head, HeadFactory, build
from modules.heads.queries.base import MaskQueryHead, Queries, See, Target
from modules.losses.segmentation import SegmentationLoss

LEAST = 1e-6  # score, so that its logarithm is finite


class SemanticQueries(Head):
    """Mask queries as a dense head: the score of a class at a pixel is the sum over the queries of class times mask.

    Args:
        net: the head of mask queries.
    """

    def __init__(self, net: MaskQueryHead):
        super().__init__()
        self.net = net

    eval_protocol = "of the scores of classes as shares, in place of the set loss of training"

    def set_progress(self, progress: float) -> None:
        self.net.set_progress(progress)

    def forward(  # pyrefly: ignore[bad-override]
        self, image: Tensor, see: See, targets: list[Target] | None = None
    ) -> tuple[Queries, dict[str, Tensor]]:
        """See `MaskQueryHead`."""
        return self.net(image, see, targets)

    def losses(self, image: Tensor, see: See, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of images (B, 3, H, W) and maps int64 (B, H, W), 255 = ignore, and its terms without gradient."""
        _, losses = self(image, see, segments(mask))
        return torch.stack([*losses.values()]).sum(), {name: value.detach() for name, value in losses.items()}

    def logits(self, image: Tensor, see: See) -> Tensor:
        """Logarithms of the scores, float32 (B, C, H, W), whose softmax are the scores as shares of their sum."""
        return class_scores(self(image, see)[0], image.shape[-2:]).clamp_min(LEAST).log()

    def join(self, backbone: Backbone, neck: Neck, given: bool) -> Neck:
        return self.net.join(backbone, neck, given)

    def check(self, loss: SegmentationLoss, patch_size: int | None, aux_loss_weight: float) -> None:
        """Check settings of the task.

        Raises:
            ConfigError: one that mask queries have no use for.
        """
        name = self.net.title
        if loss != SegmentationLoss():
            raise ConfigError(
                f"model.loss is {loss.name}, but {name} has a loss of its own: set --model.loss.terms "
                '"{cross_entropy: 1}" and leave the rest of it out'
            )
        for setting, value in (("patch_size", patch_size), ("aux_loss_weight", aux_loss_weight)):
            if value:
                raise ConfigError(
                    f"model.{setting} is {value}, but goes with dense heads, not with {name}: leave it out"
                )


def semantic(factory: HeadFactory[DenseHead | MaskQueryHead]) -> Callable[[Features, int], DenseHead | SemanticQueries]:
    """Factory of heads for semantic segmentation from one of dense heads or of mask queries."""

    def make(features: Features, outputs: int) -> DenseHead | SemanticQueries:
        made = build((DenseHead, MaskQueryHead), factory, features, outputs)
        return SemanticQueries(made) if isinstance(made, MaskQueryHead) else made

    return make


def class_scores(answers: Queries, size: torch.Size) -> Tensor:
    """Scores (B, C, H, W) of classes at pixels: the sum over the queries of class times mask (Cheng et al. 2021)."""
    classes = answers.classes.softmax(2)[..., :-1]
    masks = functional.interpolate(answers.masks, size, mode="bilinear").sigmoid()
    return torch.einsum("bqc,bqhw->bchw", classes, masks)


def segments(mask: Tensor) -> list[Target]:
    """One segment for each class in a map: targets of `MaskQueryHead` from int64 (B, H, W), 255 = ignore."""
    found = []
    for one in mask:
        labels = one.unique()
        labels = labels[labels != IGNORE]
        found.append({"labels": labels, "masks": one == labels[:, None, None], "ignore": one == IGNORE})
    return found
