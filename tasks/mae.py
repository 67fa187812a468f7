"""MAE: masked autoencoders are scalable vision learners (He et al. 2022)."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from modules.backbones.tokens import encode, take, token_grid, token_network
from modules.contracts import Batch, ConfigError
from modules.pretext.masks import random_patches
from modules.pretext.patches import patches
from modules.pretext.token_decoder import TokenDecoder
from tasks.pretraining import Costs, Pretraining


class MAE(Pretraining):
    """Masked autoencoder: reconstruct the pixels of hidden patches from the visible ones.

    The encoder, a Vision Transformer of timm, gets the visible patches alone. Only it is kept afterward.

    Args:
        mask_ratio: share of hidden patches, (0, 1).
        normalize_pixels: targets of mean 0 and deviation 1 in each patch; false for the pixels of normalized images.
        decoder_width: of the transformer that reconstructs; a multiple of 4 and of `decoder_heads`.
        decoder_depth: number of its blocks.
        decoder_heads: of its attention.
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image",)
    protocols: ClassVar[dict[str, str]] = {"loss": "mean squared error of the pixels of hidden patches"}

    def __init__(
        self,
        mask_ratio: float = 0.75,
        normalize_pixels: bool = True,
        decoder_width: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not 0 < mask_ratio < 1:
            raise ConfigError(f"model.mask_ratio is {mask_ratio:g}, but must lie between 0 and 1")
        net = self.token_network()
        outputs = math.prod(self.patch) * self.backbone.in_channels
        self.decoder = TokenDecoder(net.embed_dim, outputs, decoder_width, decoder_depth, decoder_heads)
        self.mask_ratio, self.normalize_pixels = mask_ratio, normalize_pixels
        if self.compiled:
            net.blocks.compile()  # which `encode` calls without the backbone around it

    def token_network(self) -> Any:
        """The Vision Transformer inside the backbone.

        Raises:
            ConfigError: another network.
        """
        return token_network(self.backbone, "MAE")

    @property
    def patch(self) -> Any:
        """Height and width of a patch."""
        return self.token_network().patch_embed.patch_size

    def forward(self, image: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """Normalized images (B, C, H, W) to the hidden patches (B, M, pixels), from visible ones (B, K)."""
        net = self.token_network()
        return self.decoder(encode(net, image, visible), visible, hidden, token_grid(net, image))

    def check_sides(self, sides: dict[str, int]) -> None:
        super().check_sides(sides)
        net = self.token_network()
        for side in sides.values():
            self.mask(1, token_grid(net, torch.empty(1, 1, side, side, device="meta")), torch.Generator())

    def mask(self, images: int, grid: Sequence[int], generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Visible and hidden patches, int64 (images, K) and (images, M)."""
        return random_patches(images, math.prod(grid), self.mask_ratio, generator)

    def target(self, image: Tensor) -> Tensor:
        """Pixels (B, N, pixels) of the patches of normalized images, as the decoder should give them."""
        target = patches(image.float(), self.patch)
        if self.normalize_pixels:
            variance, mean = torch.var_mean(target, -1, keepdim=True)
            target = (target - mean) / (variance + 1e-6).sqrt()
        return target

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> Costs:
        image = batch[self.required_keys[0]]
        grid = token_grid(self.token_network(), image)
        masks = self.of_this_device(len(image), lambda images: self.mask(images, grid, generator))
        visible, hidden = (places.to(image.device) for places in masks)
        wanted = take(self.target(image), hidden)
        each = (self(image, visible, hidden).float() - wanted).square().mean((1, 2))
        return {"loss": each.mean(), "each": {"loss": each.detach()}}
