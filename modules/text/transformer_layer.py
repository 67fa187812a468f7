"""The layer of Transformer encoders and decoders."""

from typing import Literal

import torch
from torch import Tensor, nn

from modules.text.attention import MultiHeadAttention
from modules.text.dropout import Dropout

Norm = Literal["pre", "post"]
Activation = Literal["relu", "gelu"]
ACTIVATIONS = {"relu": nn.functional.relu, "gelu": nn.functional.gelu}


class Layer(nn.Module):
    """Self-attention, attention to a memory in a decoder, and a feed-forward network, each with a residual connection.

    Its tensors have the names and shapes of torch.nn.TransformerEncoderLayer and TransformerDecoderLayer, so weights
    move both ways.

    Args:
        width: of the states.
        heads: of attention.
        feedforward: width between the two linear layers.
        dropout: of the residual branches, and between the two linear layers.
        attention_dropout: of the weights of attention.
        norm: layer norm before (`pre`) or after (`post`) each part.
        activation: `relu` or `gelu`.
        crosses: attend to a memory too (cross-attention).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feedforward: int,
        dropout: float,
        attention_dropout: float,
        norm: Norm,
        activation: Activation,
        crosses: bool,
    ):
        super().__init__()
        self.pre, self.crosses = norm == "pre", crosses
        self.activation = ACTIVATIONS[activation]
        self.self_attn = MultiHeadAttention(width, heads, attention_dropout)
        self.linear1, self.linear2 = nn.Linear(width, feedforward), nn.Linear(feedforward, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = Dropout(dropout)
        if crosses:
            self.multihead_attn = MultiHeadAttention(width, heads, attention_dropout)
            self.norm3 = nn.LayerNorm(width)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, source: Tensor | None = None, past: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the layer; with `past`, one step of a decoder.

        Args:
            x: (B, T, D); in a step of a decoder (R, 1, D) with R a multiple of the sources.
            mask: of the memory in a decoder, of x itself in an encoder, as `MultiHeadAttention` has it.
            source: keys and values of the memory (B, S, 2 D), in a decoder.
            past: keys and values of the tokens before (R, t, 2 D), in a step; without them the decoder is causal.

        Returns:
            The new states, and keys and values (B, T, 2 D) of all tokens so far.
        """
        queries, own = self.self_attn.itself(self.norm1(x) if self.pre else x)
        if past is not None:
            own = torch.cat([past, own], 1)
        seen = self.self_attn(queries, own, None if self.crosses else mask, causal=self.crosses and past is None)
        x = self._add(x, seen, self.norm1)
        if self.crosses:
            assert source is not None  # of a decoder
            queries = self.multihead_attn.queries(self.norm2(x) if self.pre else x)
            seen = self.multihead_attn(queries.reshape(source.shape[0], -1, x.shape[2]), source, mask)
            x = self._add(x, seen.view_as(x), self.norm2)
        last = self.norm3 if self.crosses else self.norm2
        hidden = self.activation(self.linear1(last(x) if self.pre else x))
        return self._add(x, self.linear2(self.dropout(hidden)), last), own

    def _add(self, x: Tensor, change: Tensor, norm: nn.LayerNorm) -> Tensor:
        x = x + self.dropout(change)
        return x if self.pre else norm(x)
