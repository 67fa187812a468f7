"""Recurrent encoder without packed sequences, which traced graphs do not know: a scan over the tokens."""

from typing import Any

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from modules.text.encoder import Encoder, EncoderOutput
from modules.text.recurrent import RecurrentEncoder
from modules.text.tokens import PAD

CELLS = {nn.GRU: nn.GRUCell, nn.LSTM: nn.LSTMCell, nn.RNN: nn.RNNCell}


class Unpacked(Encoder):
    """The states of a `RecurrentEncoder`: a state stays as it is where there is padding.

    Args:
        encoder: has the weights.
    """

    def __init__(self, encoder: RecurrentEncoder):
        super().__init__()
        cells: Any = encoder.cells
        self.width, self.embedding, self.scale = encoder.width, encoder.embedding, encoder.scale
        ways = ("", "_reverse") if cells.bidirectional else ("",)
        self.layers = nn.ModuleList(
            nn.ModuleList(_cell(cells, f"_l{layer}{way}") for way in ways) for layer in range(cells.num_layers)
        )

    def forward(self, tokens: Tensor) -> EncoderOutput:
        padding = tokens == PAD
        beyond = padding.clone()
        beyond[:, 0] = False
        beyond = beyond.t()[..., None]
        states, last = (self.embedding(tokens) * self.scale).transpose(0, 1), []
        layers: Any = self.layers
        for layer in layers:
            found = [_run(cell, states, beyond, reverse=bool(way)) for way, cell in enumerate(layer)]
            states = torch.cat([states for states, _ in found], 2).masked_fill(beyond, 0)
            last = [state for _, state in found]
        return EncoderOutput(states.transpose(0, 1), padding, last=torch.cat(last, 1))


def _cell(cells: Any, suffix: str) -> nn.Module:
    """Cell of one layer and direction, with its weights."""
    weights = {name: getattr(cells, f"{name}{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    cell = CELLS[type(cells)](weights["weight_ih"].shape[1], cells.hidden_size)
    cell.load_state_dict(weights)
    return cell


def _run(cell: Any, inputs: Tensor, beyond: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """States (S, B, D) of inputs (S, B, E), and the last one (B, D); `beyond` (S, B, 1) is true for padding."""
    if reverse:
        inputs, beyond = inputs.flip(0), beyond.flip(0)
    first = inputs.new_zeros(inputs.shape[1], cell.hidden_size)
    two = isinstance(cell, nn.LSTMCell)

    def step(before: tuple[Tensor, ...], now: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        after = cell(now[0], before if two else before[0])
        kept = tuple(torch.where(now[1], old, new) for old, new in zip(before, after if two else (after,), strict=True))
        return kept, kept[0].clone()

    last, states = scan(step, (first, first.clone()) if two else (first,), (inputs, beyond))
    return states.flip(0) if reverse else states, last[0]
