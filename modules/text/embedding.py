"""Tokens and their positions as vectors."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from modules.contracts import ConfigError
from modules.text.dropout import Dropout
from modules.text.tokens import PAD

Positions = Literal["sinusoidal", "learned"]


def token_embedding(vocabulary: int, width: int) -> nn.Embedding:
    """An embedding whose vectors have length about 1, so that it serves as the output's weight as well; PAD is 0."""
    embedding = nn.Embedding(vocabulary, width, padding_idx=PAD)
    nn.init.normal_(embedding.weight, std=width**-0.5)
    with torch.no_grad():
        embedding.weight[PAD].zero_()
    return embedding


def token_output(embedding: nn.Embedding, width: int, tied: bool) -> nn.Linear:
    """States of a width to logits, with the embedding's own weight if `tied`.

    Raises:
        ConfigError: tied, but the states are not as wide as the embedding.
    """
    output = nn.Linear(width, embedding.num_embeddings, bias=False)
    if tied:
        if width != embedding.embedding_dim:
            raise ConfigError(f"a tied output needs states as wide as the embedding, not {width} for {embedding}")
        output.weight = embedding.weight
    else:
        nn.init.normal_(output.weight, std=width**-0.5)
    return output


def sinusoids(length: int, width: int) -> Tensor:
    """(length, width): sines in even, cosines in odd columns, waves of 2 pi to 10000 * 2 pi (Vaswani et al. 2017)."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)[:, :width]


class Placed(nn.Module):
    """Embedded tokens, scaled by the root of the width, plus their positions; then dropout (Vaswani et al. 2017).

    Args:
        embedding: of the tokens; owned by the caller, which may tie it to others.
        positions: `sinusoidal`, of any length, or `learned`.
        max_positions: number of learned positions.
        dropout: 0..1.
    """

    def __init__(self, width: int, positions: Positions, max_positions: int, dropout: float):
        super().__init__()
        self.scale = math.sqrt(width)
        self.dropout = Dropout(dropout)
        self.learned = positions == "learned"
        if self.learned:
            self.table = nn.Parameter(nn.init.normal_(torch.empty(max_positions, width), std=0.02))
        else:
            self.register_buffer("table", sinusoids(max_positions, width), persistent=False)

    def forward(self, embedded: Tensor, first: int = 0) -> Tensor:
        """Embedded tokens (B, T, D), the first of them at position `first`.

        Raises:
            ConfigError: more tokens than there are learned positions.
        """
        end = first + embedded.shape[1]
        if end > len(self.table):
            if self.learned:
                raise ConfigError(
                    f"positions are learned for {len(self.table)} tokens, but a text has {end}: raise `max_positions`, "
                    "choose sinusoidal positions, or limit the length"
                )
            self.table = sinusoids(2 * end, embedded.shape[2]).to(self.table)
        return self.dropout(torch.add(self.table[first:end], embedded, alpha=self.scale))
