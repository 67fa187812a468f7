"""One step of a decoder with attention, by hand, and the loop around it that writes a sentence.

The decoder of Bahdanau et al. (2015) does four things for each token: its state asks the encoder's states for what
matters now (attention), the cell reads the last token beside that context, the new state becomes a score for every word
of the vocabulary, and the best word is the next last token. In training that token is the true one ("teacher
forcing"); when writing it is the decoder's own, from `<bos>` until it says `<eos>`.

python examples/from_scratch/decoder_step.py
"""

from typing import NamedTuple

import numpy as np
from additive_attention import Weights, attend
from additive_attention import backward as attend_backward
from additive_attention import initialize as attention_weights
from gradient_check import Array, report
from networks import cross_entropy
from recurrent_cells import Cell, rnn, rnn_backward
from recurrent_cells import initialize as cell_weights

BOS, EOS = 0, 1


class Decoder(NamedTuple):
    """Embedding of tokens (V, E), attention, cell of E + D inputs and H units, and scores of words (V, H)."""

    embedding: Array
    attention: Weights
    cell: Cell
    words: Array


def initialize(vocab: int, encoded: int, width: int, random: np.random.Generator) -> Decoder:
    """Random weights for V words and encoder states of D numbers; E and H are `width`."""
    tables = (random.normal(size=(vocab, width)) / np.sqrt(width) for _ in range(2))
    attention = attention_weights(width, encoded, width, random)
    return Decoder(next(tables), attention, cell_weights(width + encoded, width, 1, random), next(tables))


def step(token: int, state: Array, encoder: Array, decoder: Decoder) -> tuple[Array, Array, tuple]:
    """Last token, state (H,) and encoder states (L, D) to scores (V,), the next state, and what `backward` needs."""
    context, attention, features = attend(state, encoder, encoder, decoder.attention)
    x = np.concatenate([decoder.embedding[token], context])
    after = rnn(x, state, decoder.cell)
    return decoder.words @ after, after, (token, state, x, after, attention, features)


def backward(d_scores: Array, d_after: Array, encoder: Array, decoder: Decoder, kept: tuple) -> tuple[Array, Decoder]:
    """Gradients by the state before the step and by all weights, given those by scores and next state."""
    token, state, x, after, attention, features = kept
    d_x, d_state, d_cell = rnn_backward(decoder.words.T @ d_scores + d_after, x, state, after, decoder.cell)
    width = decoder.embedding.shape[1]
    d_embedding = np.zeros_like(decoder.embedding)
    d_embedding[token] = d_x[:width]  # of the table only the row that was read
    # The state was used twice, as the query and inside the cell: the two gradients are added
    d_query, _, _, d_attention = attend_backward(
        d_x[width:], state, encoder, encoder, decoder.attention, attention, features
    )
    return d_state + d_query, Decoder(d_embedding, d_attention, d_cell, np.outer(d_scores, after))


def arrays(part: tuple | Array) -> list[Array]:
    """All arrays inside nested tuples of weights, in order."""
    return [part] if isinstance(part, np.ndarray) else [array for inner in part for array in arrays(inner)]


def loss_and_gradients(target: list[int], encoder: Array, decoder: Decoder) -> tuple[float, list[Array]]:
    """Teacher forcing: summed cross-entropy of the target, `EOS` at its end, and gradients in the order of `arrays`."""
    state, loss, kept = np.zeros(decoder.words.shape[1]), 0.0, []
    for last, wanted in zip([BOS, *target], target, strict=False):
        scores, state, memory = step(last, state, encoder, decoder)
        part, d_scores = cross_entropy(scores[None], np.array([wanted]))
        loss += part
        kept.append((d_scores[0], memory))
    d_state, total = np.zeros_like(state), [np.zeros_like(array) for array in arrays(decoder)]
    for d_scores, memory in reversed(kept):
        d_state, gradients = backward(d_scores, d_state, encoder, decoder, memory)
        total = [before + more for before, more in zip(total, arrays(gradients), strict=True)]
    return loss, total


def greedy(encoder: Array, decoder: Decoder, longest: int = 10) -> list[int]:
    """Tokens that the decoder writes by itself, the best one at each step, `EOS` included."""
    tokens, state = [BOS], np.zeros(decoder.words.shape[1])
    while len(tokens) <= longest and tokens[-1] != EOS:
        scores, state, _ = step(tokens[-1], state, encoder, decoder)
        tokens.append(int(scores.argmax()))
    return tokens[1:]


def main() -> list[int]:
    """Check the gradients, teach one sentence, and write it; returns the tokens that were written."""
    random = np.random.default_rng(0)
    vocabulary = "<bos> <eos> the cat sat on mat".split()
    target = [vocabulary.index(word) for word in "the cat sat on the mat <eos>".split()]
    encoder, decoder = random.normal(size=(4, 5)), initialize(len(vocabulary), 5, 8, random)
    _, gradients = loss_and_gradients(target, encoder, decoder)
    names = ("embedding", "Wq", "Wk", "v", "Wx", "Wh", "bias", "words")
    pairs = dict(zip(names, zip(arrays(decoder), gradients, strict=True), strict=True))
    report(lambda: loss_and_gradients(target, encoder, decoder)[0], pairs)
    print(f"a decoder that knows nothing has a loss of {len(target) * np.log(len(vocabulary)):.1f}")
    for number in range(61):
        loss, gradients = loss_and_gradients(target, encoder, decoder)
        if number % 20 == 0:
            written = " ".join(vocabulary[token] for token in greedy(encoder, decoder))
            print(f"step {number:>2}: loss {loss:6.3f}  {written}")
        for array, gradient in zip(arrays(decoder), gradients, strict=True):
            array -= 0.1 * gradient
    return greedy(encoder, decoder)


if __name__ == "__main__":
    main()
