"""Temporal fusion by attention between the frames."""

import torch
from torch import Tensor, nn

from modules.contracts import Backbone, ConfigError, Fusion, Maps, check_range, check_sizes
from modules.temporal.frames import as_maps, frame_width, pooled_frames, vector


class Attention(Fusion):
    """Transformer encoder over the features of the frames, read by a token of its own.

    Neimark et al. 2021, "Video transformer network".

    Args:
        backbone: applied to every frame.
        frames: of a clip, at most; each has a learned position.
        layers: of the encoder.
        heads: of attention; they divide the backbone's width.
        dropout: inside of the encoder, 0..1.

    Raises:
        ConfigError: heads that do not divide the width.
    """

    def __init__(self, backbone: Backbone, frames: int, layers: int = 2, heads: int = 4, dropout: float = 0.0):
        super().__init__()
        check_sizes("fusion", layers=layers, heads=heads)
        check_range("fusion.dropout", dropout, high=1)
        width = frame_width(backbone)
        if width % heads:
            raise ConfigError(f"fusion.heads is {heads}, which does not divide the {width} features of {backbone.name}")
        self.features, self.pools = vector(width, backbone), not backbone.temporal
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, frames, width), std=0.02))
        self.norm = nn.LayerNorm(width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, backbone: Backbone, video: Tensor) -> Maps:
        frames = self.norm(pooled_frames(backbone, video))
        if frames.shape[1] > self.position.shape[1]:
            made, given = self.position.shape[1], frames.shape[1]
            raise ConfigError(f"fusion attention is made for {made} frames, not for {given}: set --data.frames {made}")
        placed = frames + self.position[:, : frames.shape[1]]
        return as_maps(self.encoder(torch.cat([self.token.expand(frames.shape[0], -1, -1), placed], 1))[:, 0])
