"""Recurrent encoder and decoder, with and without attention."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from modules.contracts import check_range
from modules.text.alignment import Alignment
from modules.text.decoder import Decoder, State
from modules.text.dropout import Dropout
from modules.text.embedding import token_embedding, token_output
from modules.text.encoder import Encoder, EncoderOutput
from modules.text.tokens import PAD

Cell = Literal["gru", "lstm", "rnn"]
CELLS = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


class RecurrentEncoder(Encoder):
    """Recurrent encoder (GRU, LSTM, RNN): tokens to a memory, in one direction or both.

    Args:
        vocabulary: number of tokens.
        width: of the embedding and of the memory, both directions together.
        layers: above each other.
        cell: `gru`, `lstm` or `rnn` (tanh).
        bidirectional: half of the width reads from the left, half from the right.
        dropout: of embeddings, memory and between layers, 0..1.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 256,
        layers: int = 1,
        cell: Cell = "gru",
        bidirectional: bool = True,
        dropout: float = 0.2,
    ):
        super().__init__()
        check_range("encoder.width", width, 2 if bidirectional else 1)
        check_range("encoder.layers", layers, 1)
        check_range("encoder.dropout", dropout, high=1)
        directions = 2 if bidirectional else 1
        self.width = width // directions * directions
        self.embedding = token_embedding(vocabulary, width)
        self.scale = width**0.5
        self.dropout = Dropout(dropout)
        between = dropout if layers > 1 else 0.0
        self.cells = CELLS[cell](
            width, width // directions, layers, batch_first=True, dropout=between, bidirectional=bidirectional
        )

    def forward(self, tokens: Tensor) -> EncoderOutput:
        padding = tokens == PAD
        embedded = self.dropout(self.embedding(tokens) * self.scale)
        lengths = (~padding).sum(1).clamp_min(1).cpu()
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        states, hidden = self.cells(packed)
        states, _ = pad_packed_sequence(states, batch_first=True, total_length=tokens.shape[1])
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden  # of an LSTM, not its cell
        last = hidden[-2:] if self.cells.bidirectional else hidden[-1:]  # of the top layer
        return EncoderOutput(self.dropout(states), padding, last=self.dropout(torch.cat([*last], 1)))


class Recurrent(Decoder):
    """Base of recurrent decoders, which process a target token by token, in training too."""

    scale: float

    def advance(self, embedded: Tensor, state: State) -> tuple[Tensor, Tensor | None, State]:
        """Embedded tokens (R, E) to states (R, D), weights over the memory (R, S) or None, and the new state."""
        raise NotImplementedError

    def attend(self, target: Tensor, memory: EncoderOutput) -> tuple[Tensor, Tensor | None]:
        state, states, weights = self.start(memory), [], []
        for embedded in (self.embedding(target) * self.scale).unbind(1):
            said, looked, state = self.advance(embedded, state)
            states.append(said)
            weights.append(looked)
        return torch.stack(states, 1), None if weights[0] is None else torch.stack(weights, 1)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        said, _, state = self.advance(self.embedding(tokens) * self.scale, state)
        return self.output(said), state


class RecurrentDecoder(Recurrent):
    """Recurrent decoder with attention: starts at the encoder's last state and attends to its memory at every token.

    The state after a token asks for the context; both make the attentional vector tanh(W [context; state]) that is said
    (Luong et al. 2015). Without attention nothing but the first state tells of the source: the baseline, in which the
    encoder's last state, through one layer, is all there is (Cho et al. 2014; Sutskever et al. 2014). Where there is no
    last state, behind a Transformer or on images (Vinyals et al. 2015, "Show and tell"), it is the mean of the memory.

    Args:
        vocabulary: number of tokens.
        memory: width of the memory.
        width: of embedding and states.
        layers: above each other.
        cell: `gru`, `lstm` or `rnn` (tanh).
        attention: `additive`, `general` or `dot`; `none` for the baseline.
        initial_state: made from the `last` state of a recurrent encoder, or from the `mean` of its states.
        input_feeding: each step also reads the attentional vector of the one before.
        dropout: of embeddings, attentional vectors and between layers, 0..1.
        tied: use the embedding's weight in the output (weight tying).
    """

    def __init__(
        self,
        vocabulary: int,
        memory: int,
        width: int = 256,
        layers: int = 1,
        cell: Cell = "gru",
        attention: Literal["additive", "general", "dot", "none"] = "additive",
        initial_state: Literal["last", "mean"] = "last",
        input_feeding: bool = True,
        dropout: float = 0.2,
        tied: bool = True,
    ):
        super().__init__()
        check_range("decoder.width", width, 1)
        check_range("decoder.layers", layers, 1)
        check_range("decoder.dropout", dropout, high=1)
        self.initial_state = initial_state
        self.width, self.layers, self.memories = width, layers, 2 if cell == "lstm" else 1
        self.embedding = token_embedding(vocabulary, width)
        self.scale = width**0.5
        self.feeds = input_feeding
        self.cells = CELLS[cell](
            2 * width if input_feeding else width,
            width,
            layers,
            batch_first=True,
            dropout=dropout if layers > 1 else 0.0,
        )
        self.first = nn.Linear(memory, self.memories * layers * width)
        self.attends = attention != "none"
        self.alignment = Alignment(width, memory, attention) if self.attends else None
        self.mix = nn.Linear(width + memory if self.attends else width, width)
        self.dropout = Dropout(dropout)
        self.output = token_output(self.embedding, width, tied)

    def start(self, memory: EncoderOutput) -> State:
        summary = memory.last if self.initial_state == "last" and memory.last is not None else memory.mean()
        hidden = torch.tanh(self.first(summary)).unflatten(1, (self.memories, self.layers, self.width))
        source = [memory.states, memory.padding]
        if self.alignment is not None:
            source.append(self.alignment.keys(memory.states))
        return {"source": source, "hidden": list(hidden.unbind(1)), "said": [torch.zeros_like(hidden[:, 0, 0])]}

    def advance(self, embedded: Tensor, state: State) -> tuple[Tensor, Tensor | None, State]:
        read = self.dropout(embedded)
        if self.feeds:
            read = torch.cat([read, state["said"][0]], 1)
        hidden = tuple(part.transpose(0, 1).contiguous() for part in state["hidden"])
        top, hidden = self.cells(read[:, None], hidden if self.memories == 2 else hidden[0])
        hidden = list(hidden) if self.memories == 2 else [hidden]
        top, weights = top[:, 0], None
        if self.alignment is not None:
            context, weights = glance(self.alignment, top, state["source"])
            top = torch.cat([context, top], 1)
        said = self.dropout(torch.tanh(self.mix(top)))
        hidden = [part.transpose(0, 1) for part in hidden]
        return said, weights, {"source": state["source"], "hidden": hidden, "said": [said]}


def glance(alignment: Alignment, queries: Tensor, source: list[Tensor]) -> tuple[Tensor, Tensor]:
    """One attention step of R hypotheses over the memories of their sources.

    Args:
        alignment: scores the places.
        queries: (R, Q), those of one source side by side.
        source: states (B, S, D), padding (B, S) and keys (B, S, K).

    Returns:
        Contexts (R, D) and weights (R, S).
    """
    states, padding, keys = source
    context, weights = alignment(queries.unflatten(0, (states.shape[0], -1)), states, keys, padding)
    return context.flatten(0, 1), weights.flatten(0, 1)
