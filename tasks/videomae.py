"""VideoMAE: masked autoencoders for self-supervised pretraining on videos (Tong et al. 2022)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from modules.backbones import VideoViT
from modules.backbones.video_vit import clip_grid
from modules.contracts import ConfigError
from modules.pretext.masks import random_patches, tubes
from modules.pretext.patches import tubelets
from tasks.clip_pretraining import ClipPretraining
from tasks.mae import MAE


class VideoMAE(ClipPretraining, MAE):
    """Masked autoencoder of clips: reconstruct the pixels of hidden tubes from the few visible ones.

    A patch is hidden at all times or at none (tube masking), so that neighboring frames do not give it away. The
    encoder, a `VideoViT`, gets the visible tubelets alone; only it is kept afterward.

    Args:
        mask_ratio: share of hidden tubes, (0, 1).
        normalize_pixels: targets of mean 0 and deviation 1 in each channel of a tubelet; false for the pixels.
    """

    protocols: ClassVar[dict[str, str]] = {"loss": "mean squared error of the pixels of hidden tubelets"}

    def __init__(self, mask_ratio: float = 0.9, normalize_pixels: bool = True, **kwargs):
        super().__init__(mask_ratio=mask_ratio, normalize_pixels=normalize_pixels, fusion="mean", **kwargs)

    def token_network(self) -> Any:
        if isinstance(self.backbone, VideoViT):
            return self.backbone.net
        raise ConfigError(
            f"VideoMAE masks tubelets, which {self.backbone.name} does not have: choose --model.backbone VideoViT"
        )

    def check_sides(self, sides: dict[str, int]) -> None:
        backbone: Any = self.backbone
        for side in sides.values():
            video = torch.empty(1, 3, self.frames, side, side, device="meta")
            backbone.check(video)
            self.mask(1, clip_grid(backbone.net, video), torch.Generator())

    @property
    def patch(self) -> Any:
        """Frames, height and width of a tubelet."""
        embed = self.token_network().patch_embed
        return embed.tubelet, *embed.patch_size

    def mask(self, images: int, grid: Sequence[int], generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        steps, rows, columns = grid
        found = random_patches(images, rows * columns, self.mask_ratio, generator)
        visible, hidden = (tubes(places, steps, rows * columns) for places in found)
        return visible, hidden

    def target(self, image: Tensor) -> Tensor:
        target = tubelets(image.float(), self.patch)
        if self.normalize_pixels:
            channels = target.unflatten(2, (-1, image.shape[1]))
            variance, mean = torch.var_mean(channels, 2, keepdim=True)
            target = ((channels - mean) / (variance.sqrt() + 1e-6)).flatten(2)
        return target
