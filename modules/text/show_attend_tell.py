"""The decoder of Show, Attend and Tell (Xu et al. 2015)."""

import torch
from torch import Tensor, nn

from modules.contracts import check_range
from modules.text.alignment import Alignment
from modules.text.decoder import State
from modules.text.dropout import Dropout
from modules.text.embedding import token_embedding, token_output
from modules.text.encoder import EncoderOutput
from modules.text.recurrent import Recurrent, glance


class ShowAttendTell(Recurrent):
    """Captioning decoder: an LSTM with soft attention over the image before each word (equations 1 to 7).

    The state before the word asks for the context; a gate made from it scales the context, which enters the LSTM with
    the word. Word, new state and context together say the next word (the deep output). The first state comes from the
    mean of the memory. In training, add `doubly_stochastic` of the weights to the loss.

    Args:
        vocabulary: number of tokens.
        memory: width of the memory, the channels of the feature map.
        width: of embedding and deep output.
        hidden: width of the LSTM.
        attention: width inside of the additive attention.
        dropout: of the deep output, 0..1.
        tied: use the embedding's weight in the output (weight tying).
    """

    def __init__(
        self,
        vocabulary: int,
        memory: int,
        width: int = 256,
        hidden: int = 512,
        attention: int = 256,
        dropout: float = 0.5,
        tied: bool = False,
    ):
        super().__init__()
        for name, value in {"width": width, "hidden": hidden, "attention": attention}.items():
            check_range(f"decoder.{name}", value, 1)
        check_range("decoder.dropout", dropout, high=1)
        self.embedding = token_embedding(vocabulary, width)
        self.scale = width**0.5
        self.first = nn.Linear(memory, 2 * hidden)
        self.alignment = Alignment(hidden, memory, "additive", attention)
        self.gate = nn.Linear(hidden, memory)
        self.cell = nn.LSTMCell(width + memory, hidden)
        self.say_state, self.say_context = nn.Linear(hidden, width), nn.Linear(memory, width, bias=False)
        self.dropout = Dropout(dropout)
        self.output = token_output(self.embedding, width, tied)

    def start(self, memory: EncoderOutput) -> State:
        hidden = torch.tanh(self.first(memory.mean())).chunk(2, 1)
        source = [memory.states, memory.padding, self.alignment.keys(memory.states)]
        return {"source": source, "hidden": list(hidden)}

    def advance(self, embedded: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        before, _ = state["hidden"]
        context, weights = glance(self.alignment, before, state["source"])
        context = self.gate(before).sigmoid() * context
        hidden, cell = self.cell(torch.cat([embedded, context], 1), tuple(state["hidden"]))
        said = self.dropout(embedded + self.say_state(hidden) + self.say_context(context))
        return said, weights, {"source": state["source"], "hidden": [hidden, cell]}
