"""Light transformer over visible tokens and mask tokens: the decoder of MAE and the predictor of I-JEPA."""

from collections.abc import Sequence

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from modules.backbones.positions import grid_positions
from modules.backbones.tokens import take
from modules.contracts import ConfigError, check_sizes


class TokenDecoder(nn.Module):
    """Predict tokens that are hidden from those that are visible, by mask tokens with fixed sine-cosine positions.

    He et al. 2022 (MAE), Assran et al. 2023 (I-JEPA).

    Args:
        inputs: width of the visible tokens.
        outputs: width of the predictions.
        width: of the transformer, a multiple of `4` and of `heads`.
        depth: number of blocks.
        heads: of attention.
        name: of its settings, such as `decoder` for `model.decoder_width`.
    """

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, heads: int, name: str = "decoder"):
        super().__init__()
        check_sizes("model", **{f"{name}_width": width, f"{name}_depth": depth, f"{name}_heads": heads})
        if width % 4 or width % heads:
            raise ConfigError(
                f"model.{name}_width is {width}, but must be a multiple of 4 and of --model.{name}_heads {heads}"
            )
        self.enter, self.leave = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.mask_token = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.Sequential(*(Block(width, heads, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor, visible: Tensor, wanted: Tensor, grid: Sequence[int]) -> Tensor:
        """Predictions (B, M, outputs) of patches.

        Args:
            tokens: of the encoder, (B, P + K, inputs); the first P have no place.
            visible: places of the others, int64 (B, K).
            wanted: places of the patches to predict, int64 (B, M).
            grid: rows and columns of all places, of clips with steps of time before them.
        """
        x = self.enter(tokens)
        table = grid_positions(grid, x.shape[-1]).to(x).expand(len(x), -1, -1)
        prefix = x.shape[1] - visible.shape[1]
        asked = self.mask_token.to(x.dtype) + take(table, wanted)
        x = torch.cat([x[:, :prefix], x[:, prefix:] + take(table, visible), asked], 1)
        return self.leave(self.norm(self.blocks(x)[:, -wanted.shape[1] :]))
