"""Multi-head attention, with tensors named as torch.nn.MultiheadAttention's."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.contracts import ConfigError


class MultiHeadAttention(nn.Module):
    """Multi-head attention: softmax(q k' / sqrt(d)) v in every head (Vaswani et al. 2017).

    Keys and values are projected apart from the queries, so that both can be kept between the steps of a decoder.

    Args:
        width: of queries, memory and result.
        heads: they divide the width.
        dropout: of the weights, 0..1; above 0 the CPU has no fast kernel.

    Raises:
        ConfigError: heads that do not divide the width.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        if width % heads:
            raise ConfigError(f"{heads} heads of attention do not divide a width of {width}")
        self.width, self.heads, self.dropout = width, heads, dropout
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * width, width)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.zeros_(self.out_proj.bias)

    def itself(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) to queries (B, T, D) and keys with values (B, T, 2 D) in one product."""
        projected = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        return projected.split([self.width, 2 * self.width], -1)

    def queries(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return functional.linear(x, self.in_proj_weight[: self.width], self.in_proj_bias[: self.width])

    def keys_values(self, x: Tensor) -> Tensor:
        """(B, S, D) to (B, S, 2 D)."""
        return functional.linear(x, self.in_proj_weight[self.width :], self.in_proj_bias[self.width :])

    def forward(self, queries: Tensor, keys_values: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Multi-head attention of queries over keys and values.

        Args:
            queries: (B, T, D), projected.
            keys_values: (B, S, 2 D), projected.
            mask: bool, True where a query may look, or float to add; broadcasts to (B, heads, T, S).
            causal: query t sees the first t + 1 keys only; without a mask.

        Returns:
            (B, T, D).
        """
        keys, values = (self._split(half) for half in keys_values.chunk(2, -1))
        dropout = self.dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(self._split(queries), keys, values, mask, dropout, causal)
        return self.out_proj(seen.transpose(1, 2).flatten(2))

    def weights(self, queries: Tensor, keys_values: Tensor, mask: Tensor) -> Tensor:
        """Attention weights of each query, (B, T, S), the mean over heads; `mask` is additive."""
        keys = self._split(keys_values.chunk(2, -1)[0])
        scores = self._split(queries) @ keys.transpose(2, 3) * (self.width // self.heads) ** -0.5
        return (scores + mask).softmax(-1).mean(1)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
