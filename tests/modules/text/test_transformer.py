"""Transformer encoder and decoder against torch.nn's, with its weights."""

import math

import pytest
import torch
from torch import nn

from modules.contracts import ConfigError
from modules.text.decoder import tie
from modules.text.dropout import Dropout
from modules.text.embedding import sinusoids
from modules.text.encoder import EncoderOutput
from modules.text.tokens import BOS, PAD
from modules.text.transformer import TransformerDecoder, TransformerEncoder
from tests.helpers.errors import refuses

VOCABULARY, WIDTH, HEADS, FEEDFORWARD = 50, 16, 4, 24
SHAPE = {"width": WIDTH, "heads": HEADS, "feedforward": FEEDFORWARD, "layers": 3}


@pytest.fixture
def tokens() -> torch.Tensor:
    tokens = torch.randint(4, VOCABULARY, (3, 7))
    tokens[1, 5:] = PAD
    tokens[2, 2:] = PAD
    return tokens


@pytest.mark.parametrize(("norm", "activation"), [("pre", "gelu"), ("post", "relu")])
def test_the_encoder_equals_torchs_with_its_weights(tokens: torch.Tensor, norm: str, activation: str):
    ours = TransformerEncoder(VOCABULARY, norm=norm, activation=activation, **SHAPE).eval()
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, FEEDFORWARD, 0, activation, batch_first=True, norm_first=norm == "pre"
    )
    final = nn.LayerNorm(WIDTH) if norm == "pre" else None
    theirs = nn.TransformerEncoder(layer, 3, final, enable_nested_tensor=False)
    random_weights(theirs)
    ours.layers.load_state_dict(theirs.layers.state_dict())
    if final is not None:
        ours.norm.load_state_dict(theirs.norm.state_dict())
    states, padding, *_ = ours(tokens)
    expected = theirs(ours.place(ours.embedding(tokens)), src_key_padding_mask=padding)
    torch.testing.assert_close(states[~padding], expected[~padding], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("norm", "activation"), [("pre", "gelu"), ("post", "relu")])
def test_the_decoder_equals_torchs_with_its_weights(tokens: torch.Tensor, norm: str, activation: str):
    ours = TransformerDecoder(VOCABULARY, WIDTH, norm=norm, activation=activation, **SHAPE).eval()
    layer = nn.TransformerDecoderLayer(
        WIDTH, HEADS, FEEDFORWARD, 0, activation, batch_first=True, norm_first=norm == "pre"
    )
    final = nn.LayerNorm(WIDTH) if norm == "pre" else None
    theirs = nn.TransformerDecoder(layer, 3, final)
    random_weights(theirs)
    ours.layers.load_state_dict(theirs.layers.state_dict())
    if final is not None:
        ours.norm.load_state_dict(theirs.norm.state_dict())
    memory = EncoderOutput(torch.randn(3, 5, WIDTH), torch.tensor([[0] * 5, [0, 0, 0, 1, 1], [0, 1, 1, 1, 1]]).bool())
    expected = theirs(
        ours.place(ours.embedding(tokens)),
        memory.states,
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(7),
        memory_key_padding_mask=memory.padding,
    )
    torch.testing.assert_close(ours.states(tokens, memory), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours(tokens, memory), ours.output(expected), atol=1e-5, rtol=0)


def test_the_weights_shown_are_those_of_torchs_layer_before_the_last(tokens: torch.Tensor):
    ours = TransformerDecoder(VOCABULARY, WIDTH, norm="post", **SHAPE).eval()
    memory = EncoderOutput(torch.randn(3, 5, WIDTH), torch.tensor([[0] * 5, [0, 0, 0, 1, 1], [0, 1, 1, 1, 1]]).bool())
    layer = nn.TransformerDecoderLayer(WIDTH, HEADS, FEEDFORWARD, 0, batch_first=True)
    theirs = nn.TransformerDecoder(layer, 2)
    random_weights(theirs)
    ours.layers[:2].load_state_dict(theirs.layers.state_dict())
    causal = nn.Transformer.generate_square_subsequent_mask(7)
    x = ours.place(ours.embedding(tokens))
    x = theirs.layers[0](x, memory.states, causal, memory_key_padding_mask=memory.padding)
    second = theirs.layers[1]
    x = second.norm1(x + second.self_attn(x, x, x, attn_mask=causal)[0])
    expected = second.multihead_attn(x, memory.states, memory.states, memory.padding)[1]
    torch.testing.assert_close(ours.attend(tokens, memory)[1], expected, atol=1e-5, rtol=0)


def test_the_base_model_has_as_many_parameters_as_torchs():
    shape = {"width": 512, "layers": 6, "heads": 8, "feedforward": 2048}
    with torch.device("meta"):
        encoder, decoder = TransformerEncoder(1000, **shape), TransformerDecoder(1000, 512, **shape)
        expected = sum(p.numel() for p in nn.Transformer(batch_first=True).parameters())
    tie(encoder, decoder)
    assert encoder.embedding.weight is decoder.embedding.weight is decoder.output.weight
    unique = {id(p): p.numel() for model in (encoder, decoder) for p in model.parameters()}
    assert sum(unique.values()) == expected + 1000 * 512


def test_embeddings_of_different_vocabularies_are_not_tied():
    with refuses(ConfigError, 40, VOCABULARY, 16):
        tie(TransformerEncoder(40, **SHAPE), TransformerDecoder(VOCABULARY, WIDTH, **SHAPE))


def test_sinusoids_follow_the_papers_formula():
    table = sinusoids(30, 10)
    for position, column in [(0, 0), (0, 1), (7, 4), (29, 9)]:
        angle = position / 10000 ** (column // 2 * 2 / 10)
        assert table[position, column].item() == pytest.approx((math.cos if column % 2 else math.sin)(angle), abs=1e-5)


def test_sinusoidal_positions_have_no_longest_text_and_learned_ones_say_theirs():
    tokens = torch.randint(4, VOCABULARY, (1, 40))
    short, long = (TransformerEncoder(VOCABULARY, max_positions=n, **SHAPE).eval() for n in (5, 50))
    short.load_state_dict(long.state_dict())
    torch.testing.assert_close(short(tokens).states, long(tokens).states)
    learned = TransformerEncoder(VOCABULARY, positions="learned", max_positions=39, **SHAPE)
    learned(tokens[:, :39])
    with refuses(ConfigError, 39, 40, "max_positions", "sinusoidal"):
        learned(tokens)


def test_learned_positions_are_told_apart():
    encoder = TransformerEncoder(VOCABULARY, positions="learned", **SHAPE).eval()
    states = encoder(torch.full((1, 4), 9)).states[0]
    assert (states[0] - states[1]).abs().max() > 1e-3


def test_heads_must_divide_the_width():
    with refuses(ConfigError, "heads", 5, "width", 16):
        TransformerEncoder(VOCABULARY, width=16, heads=5)


def test_the_loss_begins_near_that_of_guessing():
    decoder = TransformerDecoder(2000, 64, width=64, layers=2, tied=False)
    memory = EncoderOutput(torch.randn(20, 5, 64), torch.zeros(20, 5).bool())
    target = torch.randint(4, 2000, (20, 12))
    target[:, 0] = BOS
    loss = nn.functional.cross_entropy(decoder(target[:, :-1], memory).flatten(0, 1), target[:, 1:].flatten())
    # Normalized states times vectors of length 1: logits of variance 1, which add half a nat.
    assert loss.item() == pytest.approx(math.log(2000) + 0.5, abs=0.15)


def random_weights(model: nn.Module) -> None:
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.5 if parameter.ndim == 1 else 0.0, 0.3)
    model.train()  # without dropout; in eval() torch takes other kernels


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_drops_as_many_numbers_as_it_says_and_keeps_the_mean(p: float):
    dropout, x = Dropout(p), torch.ones(1000, 333, requires_grad=True)
    y = dropout(x)
    kept = y != 0
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=0.003)
    assert kept.float().mean(0).std().item() == pytest.approx(math.sqrt(p * (1 - p) / 1000), rel=0.15)
    neighbors = (kept[:, 1:] & kept[:, :-1]).float().mean().item()
    assert neighbors == pytest.approx((1 - p) ** 2, abs=0.004)  # drawn independently
    torch.testing.assert_close(y[kept].unique(), torch.tensor([1 / (1 - p)]), atol=1e-4, rtol=0)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())
    assert dropout.eval()(x) is x


def test_dropout_repeats_with_torchs_seed():
    x = torch.ones(7, 5)
    first, again = (Dropout(0.3)(x) for _ in range(2) if torch.manual_seed(3))
    torch.testing.assert_close(first, again, atol=0, rtol=0)
    assert Dropout(1.0)(x).abs().sum() == 0
