"""Encoder outputs, as the memory that a decoder attends to."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class EncoderOutput(NamedTuple):
    """Encoder output: one vector for each place of a source: words of a sentence, cells of a feature map.

    Args:
        states: float (B, S, D).
        padding: bool (B, S), True where nothing is; every source has at least one place that is not padding.
        shape: height and width of the map whose cells the places are; null for those of a sentence.
        last: (B, D), the last state of a recurrent encoder, of each direction where it ends; null for others.
    """

    states: Tensor
    padding: Tensor
    shape: tuple[int, int] | None = None
    last: Tensor | None = None

    @classmethod
    def from_map(cls, features: Tensor, coord_conv: bool = False) -> "EncoderOutput":
        """A map (B, C, H, W) as H * W places of width C, row by row.

        Args:
            features: the map.
            coord_conv: two more channels say where each place lies, x and y from -1 to 1 (Liu et al. 2018, CoordConv).
        """
        if coord_conv:
            shape = features.shape[-2:]
            y, x = torch.meshgrid(*(torch.linspace(-1, 1, n).to(features) for n in shape), indexing="ij")
            features = torch.cat([features, torch.stack([x, y]).expand(features.shape[0], 2, *shape)], 1)
        states = features.flatten(2).transpose(1, 2)
        padding = torch.zeros(states.shape[:2], dtype=torch.bool, device=states.device)
        return cls(states, padding, tuple(features.shape[-2:]))

    def mean(self) -> Tensor:
        """(B, D): the mean of the places that are not padding."""
        states = self.states.masked_fill(self.padding[..., None], 0)
        return states.sum(1) / (~self.padding).sum(1, keepdim=True)


class Encoder(nn.Module):
    """Base of text encoders: right-padded tokens (B, S) to a memory of width `width`, independent of the padding."""

    width: int
    embedding: nn.Embedding

    def forward(self, tokens: Tensor) -> EncoderOutput:
        raise NotImplementedError
