"""Attribution over the pieces of a source sentence: gradient x embedding, attention, and deletion of pieces."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from modules.contracts import ConfigError
from modules.insight.layers import differentiable, gradients, leaf
from modules.insight.targets import Word
from modules.text.decoder import Decoder
from modules.text.encoder import EncoderOutput
from modules.text.tokens import BOS, PAD, UNK


def gradient_x_embedding(network: nn.Module, embedding: nn.Module, score: Callable[[], Tensor]) -> Tensor:
    """Gradient times embedding of each piece of the source, summed over the dimensions, (B, S).

    Args:
        network: that gives the score.
        embedding: of the source, which the score goes through once.
        score: runs the network on B sentences, to (B,).
    """
    seen: list[Tensor] = []

    def watch(layer: nn.Module, inputs: object, output: Tensor) -> Tensor:
        seen.append(leaf(output))
        return seen[-1]

    with differentiable(network), embedding.register_forward_hook(watch):
        (slope,) = gradients(score(), seen)
    return (slope * seen[0].detach()).sum(2)


def word_attention(decoder: Decoder, memory: EncoderOutput, words: Sequence[Word]) -> Tensor:
    """Attention (B, S) of each word to the source, mean over its pieces.

    Raises:
        ConfigError: the decoder has no attention.
    """
    texts = [torch.tensor([BOS, *word.tokens[: word.end]], device=memory.states.device) for word in words]
    with torch.inference_mode(False), torch.no_grad():
        read = pad_sequence(texts, batch_first=True, padding_value=PAD)[:, :-1]
        _, weights = decoder.attend(read, memory)
    if weights is None:
        raise ConfigError(f"--method attention needs attention, which this {type(decoder).__name__} lacks")
    pairs = zip(weights, words, strict=True)
    return torch.stack([one[word.start : word.end].mean(0) for one, word in pairs])


def piece_deletion(score: Callable[[Tensor], Tensor], source: Tensor, order: Tensor, steps: int) -> Tensor:
    """Scores (steps + 1,) of a sentence while its pieces become unknown, those first in `order`.

    Args:
        score: sources (N, S) to scores (N,).
        source: token ids (S,), without padding.
        order: of the places, int64 (S,).
        steps: parts that they are taken in.
    """
    ends = torch.linspace(0, len(order), steps + 1).round().long().tolist()
    rows = source.repeat(steps + 1, 1)
    for row, end in zip(rows, ends, strict=True):
        row[order[:end]] = UNK
    return score(rows)
