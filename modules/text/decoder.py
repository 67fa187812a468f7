"""The contract of all decoders: whole targets at once for training, token by token for search."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from modules.contracts import ConfigError
from modules.text.encoder import Encoder, EncoderOutput

State = dict[str, list[Tensor]]
"""State of a decoder between two steps: lists of tensors, batch first. Under `source` a row for each source,
which all hypotheses of it share; under every other key a row for each hypothesis. Hypotheses of one source lie side by
side, as many for each."""


class Decoder(nn.Module):
    """Base of text decoders, which generate a text from a memory.

    `embedding` and `output` are those of its tokens; `output` has no bias; `attends` is true if it attends to single
    places of the memory.
    """

    attends: bool = True
    embedding: nn.Embedding
    output: nn.Linear

    def attend(self, target: Tensor, memory: EncoderOutput) -> tuple[Tensor, Tensor | None]:
        """Teacher forcing over the target; the state at t depends on the tokens up to t alone.

        Args:
            target: int64 (B, T), beginning with BOS, right-padded.
            memory: of the same B sources.

        Returns:
            States (B, T, D), which `output` turns into logits of the token after each; and attention weights
            over the memory, (B, T, S) summing to 1, None for a decoder without attention.
        """
        raise NotImplementedError

    def states(self, target: Tensor, memory: EncoderOutput) -> Tensor:
        """The states (B, T, D) of `attend` without its weights, which costs less in some decoders."""
        return self.attend(target, memory)[0]

    def forward(self, target: Tensor, memory: EncoderOutput) -> Tensor:
        """Logits (B, T, V) of the token after each of the target's (B, T)."""
        return self.output(self.states(target, memory))

    def start(self, memory: EncoderOutput) -> State:
        """The state before the first token, one hypothesis for each source."""
        raise NotImplementedError

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Reads one more token (R,) of each of R hypotheses.

        Returns:
            Logits (R, V) of the next, and the new state; the old one stays as it was.
        """
        raise NotImplementedError

    def choose(self, state: State, rows: Tensor) -> State:
        """The state of the hypotheses at `rows` (int64, any number, repeats allowed) in their order.

        As long as all sources keep equally many hypotheses side by side, the memory of each is kept once.
        """
        source = state["source"]
        hypotheses = next(values[0].shape[0] for key, values in state.items() if key != "source" and values)
        of = rows.div(hypotheses // len(source[0]), rounding_mode="floor")
        once, counts = of.unique_consecutive(return_counts=True)
        kept = once if (counts == counts[0]).all() else of
        if len(kept) == len(source[0]) and torch.equal(kept, torch.arange(len(kept), device=kept.device)):
            chosen = {"source": source}
        else:
            chosen = {"source": [value.index_select(0, kept) for value in source]}
        return chosen | {
            key: [value.index_select(0, rows) for value in values] for key, values in state.items() if key != "source"
        }


def tie(encoder: Encoder, decoder: Decoder) -> None:
    """Lets the encoder embed with the decoder's embedding, for a vocabulary that both share.

    With a decoder whose output is tied to it too, three ways in all (Press and Wolf 2017).

    Raises:
        ConfigError: embeddings of different shapes.
    """
    ours, theirs = tuple(encoder.embedding.weight.shape), tuple(decoder.embedding.weight.shape)
    if ours != theirs:
        raise ConfigError(
            f"the encoder embeds {ours[0]} tokens in {ours[1]} numbers and the decoder {theirs[0]} in {theirs[1]}: "
            "give both the same vocabulary and width, or do not tie them"
        )
    encoder.embedding.weight = decoder.embedding.weight


EncoderFactory = Callable[[int], Encoder]  # tokens in the vocabulary
DecoderFactory = Callable[[int, int], Decoder]  # tokens in the vocabulary, width of the memory
