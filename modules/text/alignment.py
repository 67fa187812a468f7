"""Attention of recurrent decoders (additive, general, dot), one query at a time."""

from typing import Literal

import torch
from torch import Tensor, nn

Score = Literal["additive", "general", "dot"]


class Alignment(nn.Module):
    """Attention with alignment scores of every place of a memory; the context is the mean weighted by their softmax.

    `additive`: v' tanh(W q + U m) (Bahdanau et al. 2015); `general`: q' W m, `dot`: q' m (Luong et al. 2015), for which
    a memory of another width than the query's is brought to it by a linear layer.

    Args:
        query: width of the queries.
        memory: width of the memory.
        score: one of the three.
        hidden: width inside of the additive score.
    """

    def __init__(self, query: int, memory: int, score: Score = "additive", hidden: int | None = None):
        super().__init__()
        self.score = score
        if score == "additive":
            hidden = hidden or query
            self.query, self.key = nn.Linear(query, hidden), nn.Linear(memory, hidden, bias=False)
            self.energy = nn.Linear(hidden, 1, bias=False)
        elif score == "general" or query != memory:
            self.key = nn.Linear(memory, query, bias=False)
        else:
            self.key = nn.Identity()

    def keys(self, states: Tensor) -> Tensor:
        """EncoderOutput (B, S, D) to keys (B, S, K), once for all queries."""
        return self.key(states)

    def forward(self, queries: Tensor, states: Tensor, keys: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        """Contexts of queries by attention over states.

        Args:
            queries: (B, T, Q).
            states: (B, S, D).
            keys: (B, S, K) of the states.
            padding: bool (B, S), True where nothing is.

        Returns:
            Contexts (B, T, D) and weights (B, T, S).
        """
        if self.score == "additive":
            scores = self.energy(torch.tanh(self.query(queries)[:, :, None] + keys[:, None])).squeeze(-1)
        else:
            scores = queries @ keys.transpose(1, 2)
        weights = scores.masked_fill(padding[:, None], -torch.inf).softmax(-1)
        return weights @ states, weights
