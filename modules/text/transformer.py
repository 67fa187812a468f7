"""Transformer encoder and decoder (Vaswani et al. 2017, "Attention is all you need")."""

import torch
from torch import Tensor, nn

from modules.contracts import check_range, check_sizes
from modules.text.decoder import Decoder, State
from modules.text.embedding import Placed, Positions, token_embedding, token_output
from modules.text.encoder import Encoder, EncoderOutput
from modules.text.tokens import PAD
from modules.text.transformer_layer import Activation, Layer, Norm


class TransformerEncoder(Encoder):
    """Transformer encoder: tokens to a memory.

    Args:
        vocabulary: number of tokens.
        width: of embeddings and states.
        layers: above each other.
        heads: of attention; they divide the width.
        feedforward: width inside of each layer's feed-forward network.
        dropout: of embeddings and residual connections, 0..1.
        attention_dropout: of the weights of attention; above 0 slower on a CPU.
        norm: `pre` (with one more norm at the end) or `post`.
        activation: `relu` or `gelu`.
        positions: `sinusoidal` or `learned`.
        max_positions: number of learned positions.

    Raises:
        ConfigError: sizes below 1, a dropout outside of 0..1, or heads that do not divide the
            width; in `forward`, a text longer than the learned positions.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        feedforward: int = 256,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        norm: Norm = "pre",
        activation: Activation = "relu",
        positions: Positions = "sinusoidal",
        max_positions: int = 256,
    ):
        super().__init__()
        _check("encoder", width, layers, heads, feedforward, max_positions, dropout, attention_dropout)
        self.width = width
        self.embedding = token_embedding(vocabulary, width)
        self.place = Placed(width, positions, max_positions, dropout)
        settings = (width, heads, feedforward, dropout, attention_dropout, norm, activation)
        self.layers = nn.ModuleList(Layer(*settings, crosses=False) for _ in range(layers))
        self.norm = nn.LayerNorm(width) if norm == "pre" else nn.Identity()

    def forward(self, tokens: Tensor) -> EncoderOutput:
        padding = tokens == PAD
        x = self.place(self.embedding(tokens))
        mask = additive(padding, x.dtype)
        for layer in self.layers:
            x, _ = layer(x, mask)
        return EncoderOutput(self.norm(x), padding)


class TransformerDecoder(Decoder):
    """Transformer decoder: generates a text from a memory, with a cache of keys and values between steps.

    Args:
        vocabulary: number of tokens.
        memory: width of the memory; another width than `width` is brought to it by a linear layer.
        tied: use the embedding's weight in the output (weight tying).

    The other arguments, and what is raised, as in `TransformerEncoder`.
    """

    def __init__(
        self,
        vocabulary: int,
        memory: int,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        feedforward: int = 256,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        norm: Norm = "pre",
        activation: Activation = "relu",
        positions: Positions = "sinusoidal",
        max_positions: int = 256,
        tied: bool = True,
    ):
        super().__init__()
        _check("decoder", width, layers, heads, feedforward, max_positions, dropout, attention_dropout)
        self.embedding = token_embedding(vocabulary, width)
        self.place = Placed(width, positions, max_positions, dropout)
        self.bridge = nn.Identity() if memory == width else nn.Linear(memory, width)
        settings = (width, heads, feedforward, dropout, attention_dropout, norm, activation)
        self.layers = nn.ModuleList(Layer(*settings, crosses=True) for _ in range(layers))
        self.norm = nn.LayerNorm(width) if norm == "pre" else nn.Identity()
        self.output = token_output(self.embedding, width, tied)

    def states(self, target: Tensor, memory: EncoderOutput) -> Tensor:
        x = self.place(self.embedding(target))
        mask, *sources = self._look(memory)
        for layer, source in zip(self.layers, sources, strict=True):
            x, _ = layer(x, mask, source)
        return self.norm(x)

    def attend(self, target: Tensor, memory: EncoderOutput) -> tuple[Tensor, Tensor]:
        """As in `Decoder`; weights of the layer that aligns words best.

        The mean over the heads of the last layer but one (Garg et al. 2019, "Jointly learning to align and translate"),
        or of the only one.
        """
        looks = self.layers[max(len(self.layers) - 2, 0)].multihead_attn
        weights = []
        with looks.register_forward_pre_hook(lambda _, inputs: weights.append(looks.weights(*inputs))):
            states = self.states(target, memory)
        return states, weights[0]

    def start(self, memory: EncoderOutput) -> State:
        empty = memory.states.new_empty(memory.states.shape[0], 0, 2 * self.embedding.embedding_dim)
        return {"source": self._look(memory), "own": [empty] * len(self.layers)}

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        x = self.place(self.embedding(tokens[:, None]), first=state["own"][0].shape[1])
        mask, *sources = state["source"]
        owns = []
        for layer, source, past in zip(self.layers, sources, state["own"], strict=True):
            x, own = layer(x, mask, source, past)
            owns.append(own)
        return self.output(self.norm(x[:, 0])), {"source": state["source"], "own": owns}

    def _look(self, memory: EncoderOutput) -> list[Tensor]:
        """The mask of the memory, then its keys and values for each layer."""
        states = self.bridge(memory.states)
        return [
            additive(memory.padding, states.dtype),
            *(layer.multihead_attn.keys_values(states) for layer in self.layers),
        ]


def _check(section: str, width: int, layers: int, heads: int, feedforward: int, positions: int, *shares: float) -> None:
    check_sizes(section, width=width, layers=layers, heads=heads, feedforward=feedforward, max_positions=positions)
    for name, value in zip(("dropout", "attention_dropout"), shares, strict=True):
        check_range(f"{section}.{name}", value, high=1)


def additive(padding: Tensor, dtype: torch.dtype) -> Tensor:
    """bool (B, S), True where nothing is, to a mask (B, 1, 1, S) of 0 and minus infinity."""
    return torch.zeros(padding.shape, dtype=dtype, device=padding.device).masked_fill(padding, -torch.inf)[
        :, None, None
    ]
