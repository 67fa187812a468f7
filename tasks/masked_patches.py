"""Masked-patch reconstruction: pixels (Xie et al. 2022, SimMIM) or edges (Wei et al. 2022, MaskFeat)."""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from modules.contracts import Batch, ConfigError
from modules.heads import Pixels
from modules.heads.base import DenseHead, HeadFactory
from modules.layers.blocks import resize
from modules.pretext.patches import hide, histograms, standardized
from tasks.pretraining import Costs, Pretraining

CELL, BINS = 8, 9  # of the histograms, as Dalal and Triggs found best


class MaskedPatches(Pretraining):
    """Masked image modeling: reconstruct the pixels or edges (HOG) of masked patches.

    Args:
        head: reconstruction from the backbone's maps.
        patch: side of a patch in pixels.
        ratio: share of masked patches, (0, 1).
        target: `pixels`; `texture`, the same with mean 0 and deviation 1 in each patch and channel (He et al. 2022,
            MAE); or `edges`, histograms of oriented gradients in cells of 8 x 8 pixels (Wei et al. 2022, MaskFeat).
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image",)
    protocols: ClassVar[dict[str, str]] = {
        "loss": "of hidden pixels, mean absolute error in standard deviations; of edges, squared error of histograms"
    }

    def __init__(
        self,
        head: HeadFactory[DenseHead] = Pixels,
        patch: int = 16,
        ratio: float = 0.5,
        target: Literal["pixels", "texture", "edges"] = "texture",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not 0 < ratio < 1 or patch < 1:
            raise ConfigError(f"model.ratio {ratio} must lie between 0 and 1, and model.patch {patch} be 1 or more")
        if target == "edges" and patch % CELL:
            raise ConfigError(
                f"model.patch is {patch}: edges are counted in cells of {CELL} pixels, so take a multiple"
            )
        outputs = BINS if target == "edges" else self.backbone.in_channels
        self.head = DenseHead.build(head, self.backbone.features, outputs)
        self.patch, self.ratio, self.target = patch, ratio, target

    def forward(self, image: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W), parts of them 0, to whole ones, or to histograms (B, 9, H / 8, W / 8)."""
        drawn = resize(self.head(self.backbone(image)), image.shape[-2:])
        if self.target != "edges":
            return drawn
        return adaptive_avg_pool2d(drawn, [side // CELL for side in image.shape[-2:]])

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> Costs:
        image = batch["image"]
        hidden = hide(image, self.patch, self.ratio, generator)
        drawn = self(image * ~hidden).float()
        if self.target == "edges":
            hidden = hidden[..., ::CELL, ::CELL]
            distance = (drawn - histograms(image, CELL, BINS)).square() * hidden
            return {"loss": distance.sum() / hidden.sum(), "each": {"loss": shares(distance, hidden.sum((1, 2, 3)))}}
        target = standardized(image, self.patch) if self.target == "texture" else image
        error = (drawn - target).abs() * hidden
        values = hidden.sum((1, 2, 3)) * image.shape[1]
        return {"loss": error.sum() / values.sum(), "each": {"loss": shares(error, values)}}


def shares(errors: Tensor, values: Tensor) -> Tensor:
    """Mean error of each image, and the number of values behind it, float32 (B, 2), from errors (B, C, H, W)."""
    return torch.stack([errors.sum((1, 2, 3)) / values, values], 1)
