"""Contract of all encoders and decoders of text, and the recurrent ones against their papers' equations."""

import pytest
import torch
from torch import Tensor, nn

from modules.losses.text import label_smoothed_cross_entropy
from modules.text.alignment import Alignment
from modules.text.decoder import Decoder
from modules.text.encoder import EncoderOutput
from modules.text.recurrent import RecurrentDecoder, RecurrentEncoder
from modules.text.search import greedy
from modules.text.show_attend_tell import ShowAttendTell
from modules.text.tokens import BOS, EOS, PAD
from modules.text.transformer import TransformerDecoder, TransformerEncoder

VOCABULARY = 30
ENCODERS = {
    "transformer": lambda: TransformerEncoder(VOCABULARY, 16, 2, feedforward=24),
    "post": lambda: TransformerEncoder(VOCABULARY, 16, 2, feedforward=24, norm="post", positions="learned"),
    "gru": lambda: RecurrentEncoder(VOCABULARY, 16, 2),
    "lstm": lambda: RecurrentEncoder(VOCABULARY, 16, cell="lstm"),
    "rnn": lambda: RecurrentEncoder(VOCABULARY, 16, cell="rnn", bidirectional=False),
}
DECODERS = {
    "transformer": lambda: TransformerDecoder(VOCABULARY, 12, 16, 2, feedforward=24),
    "post": lambda: TransformerDecoder(VOCABULARY, 12, 16, 2, feedforward=24, norm="post", positions="learned"),
    "gru-additive": lambda: RecurrentDecoder(VOCABULARY, 12, 16, 2),
    "lstm-general": lambda: RecurrentDecoder(VOCABULARY, 12, 16, 2, "lstm", "general", tied=False),
    "rnn-dot": lambda: RecurrentDecoder(VOCABULARY, 12, 16, 1, "rnn", "dot", input_feeding=False),
    "lstm-none": lambda: RecurrentDecoder(VOCABULARY, 12, 16, 1, "lstm", "none"),
    "show-attend-tell": lambda: ShowAttendTell(VOCABULARY, 12, 16, 20, 14),
}


@pytest.fixture(params=DECODERS)
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return DECODERS[request.param]().double().eval()


@pytest.fixture
def memory() -> EncoderOutput:
    padding = torch.tensor([[0] * 6, [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 1]]).bool()
    return EncoderOutput(torch.randn(3, 6, 12, dtype=torch.float64), padding)


@pytest.fixture
def target() -> Tensor:
    target = torch.randint(4, VOCABULARY, (3, 8))
    target[:, 0] = BOS
    return target


@pytest.mark.parametrize("name", ENCODERS)
def test_padding_never_changes_what_an_encoder_says_of_a_text(name: str):
    encoder = ENCODERS[name]().double().eval()
    tokens = torch.randint(4, VOCABULARY, (3, 7))
    tokens[1, 4:], tokens[2, 1:] = PAD, PAD
    together = encoder(tokens)
    assert together.states.shape == (3, 7, encoder.width)
    for row, length in enumerate((7, 4, 1)):
        alone = encoder(tokens[row : row + 1, :length])
        torch.testing.assert_close(together.states[row, :length], alone.states[0])
        assert together.padding[row].tolist() == [False] * length + [True] * (7 - length)


def test_padding_of_the_memory_never_changes_a_decoder(decoder: Decoder, memory: EncoderOutput, target: Tensor):
    garbage = memory._replace(states=memory.states.masked_fill(memory.padding[..., None], 77.0))
    torch.testing.assert_close(decoder(target, garbage), decoder(target, memory))
    alone = EncoderOutput(memory.states[1:2, :3], memory.padding[1:2, :3])
    torch.testing.assert_close(decoder(target[1:2], alone), decoder(target, memory)[1:2])


def test_padding_of_the_target_gets_no_gradient_and_gives_none(decoder: Decoder, memory: EncoderOutput, target: Tensor):
    inputs, labels = target[:, :-1].clone(), target[:, 1:].clone()
    short = gradient(decoder, memory, inputs[:, :5], labels[:, :5])
    inputs[:, 5:], labels[:, 5:] = PAD, PAD
    torch.testing.assert_close(gradient(decoder, memory, inputs, labels), short)


def gradient(decoder: Decoder, memory: EncoderOutput, inputs: Tensor, labels: Tensor) -> Tensor:
    decoder.zero_grad()
    label_smoothed_cross_entropy(decoder.states(inputs, memory), decoder.output.weight, labels).backward()
    return torch.cat([p.grad.flatten() for p in decoder.parameters() if p.grad is not None])


def test_a_decoder_never_sees_the_future(decoder: Decoder, memory: EncoderOutput, target: Tensor):
    changed = target.clone()
    changed[:, 5:] = (target[:, 5:] + 1).clamp_max(VOCABULARY - 1)
    before, after = decoder(target, memory), decoder(changed, memory)
    torch.testing.assert_close(after[:, :5], before[:, :5])
    assert (after[:, 5:] - before[:, 5:]).abs().max() > 1e-6


def test_steps_say_what_the_whole_target_says(decoder: Decoder, memory: EncoderOutput, target: Tensor):
    state, said = decoder.start(memory), []
    for tokens in target.unbind(1):
        logits, state = decoder.step(tokens, state)
        said.append(logits)
    torch.testing.assert_close(torch.stack(said, 1), decoder(target, memory), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "rows",
    [[0, 0, 0, 1, 1, 1, 2, 2, 2], [2, 0], [1], [0, 0, 1], [2, 1, 2, 1]],
    ids=lambda rows: "".join(map(str, rows)),
)
def test_hypotheses_are_repeated_left_out_and_reordered(
    decoder: Decoder, memory: EncoderOutput, target: Tensor, rows: list[int]
):
    """Twice in a row, so that groups of hypotheses are chosen from groups as well."""
    state = decoder.start(memory)
    rows, texts = torch.tensor(rows), target
    for tokens in target[:, :3].unbind(1):
        _, state = decoder.step(tokens, state)
    again = torch.arange(len(rows)).flip(0)
    state = decoder.choose(decoder.choose(state, rows), again)
    texts = target[rows[again]]
    for tokens in texts[:, 3:].unbind(1):
        logits, state = decoder.step(tokens, state)
    expected = decoder(texts, EncoderOutput(memory.states[rows[again]], memory.padding[rows[again]]))[:, -1]
    torch.testing.assert_close(logits, expected, atol=1e-12, rtol=0)


def test_beams_share_the_memory_of_their_source(decoder: Decoder, memory: EncoderOutput):
    state = decoder.choose(decoder.start(memory), torch.arange(3).repeat_interleave(4))
    assert {len(value) for value in state["source"]} == {3}
    assert {len(value) for key in state.keys() - {"source"} for value in state[key]} == {12}


def test_a_step_leaves_the_state_before_it_as_it_was(decoder: Decoder, memory: EncoderOutput, target: Tensor):
    _, state = decoder.step(target[:, 0], decoder.start(memory))
    first, _ = decoder.step(target[:, 1], state)
    decoder.step(target[:, 2], state)
    torch.testing.assert_close(decoder.step(target[:, 1], state)[0], first, atol=0, rtol=0)


def test_where_a_decoder_looks_is_a_distribution_over_places_that_are_there(
    decoder: Decoder, memory: EncoderOutput, target: Tensor
):
    states, weights = decoder.attend(target, memory)
    torch.testing.assert_close(states, decoder.states(target, memory))
    if getattr(decoder, "alignment", True) is None:
        assert weights is None
        return
    assert weights.shape == (3, 8, 6)
    torch.testing.assert_close(weights.sum(2), torch.ones(3, 8, dtype=torch.float64))
    assert weights.masked_select(memory.padding[:, None]).abs().max() == 0
    assert weights.std() > 0


def test_a_map_becomes_a_memory_row_by_row():
    features = torch.randn(2, 3, 4, 5)
    states, padding, shape, last = EncoderOutput.from_map(features)
    assert shape == (4, 5) and last is None
    assert states.shape == (2, 20, 3)
    assert not padding.any()
    torch.testing.assert_close(states[1, 2 * 5 + 3], features[1, :, 2, 3])


@pytest.mark.parametrize("name", DECODERS)
def test_a_handful_of_texts_is_memorized_word_for_word(name: str):
    torch.manual_seed(1)
    decoder = DECODERS[name]()
    memory = EncoderOutput(torch.randn(4, 5, 12), torch.zeros(4, 5).bool())
    texts = torch.randint(4, VOCABULARY, (4, 6))
    target = torch.cat([torch.full((4, 1), BOS), texts, torch.full((4, 1), EOS)], 1)
    target[2, 4:] = torch.tensor([EOS, PAD, PAD, PAD])
    optimizer = torch.optim.Adam(decoder.parameters(), 0.01)
    decoder.eval()  # without dropout
    for _ in range(120):
        loss = label_smoothed_cross_entropy(
            decoder.states(target[:, :-1], memory), decoder.output.weight, target[:, 1:], 0
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.05:
            break
    found = greedy(decoder, memory)
    assert [text.tokens for text in found] == [
        texts[0].tolist(),
        texts[1].tolist(),
        texts[2, :3].tolist(),
        texts[3].tolist(),
    ]
    assert all(text.finished for text in found)


def test_scores_of_alignment_follow_their_formulas():
    queries, states = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    padding = torch.zeros(2, 5).bool()
    for score in ("dot", "general", "additive"):
        align = Alignment(8, 8, score, 6)
        context, weights = align(queries, states, align.keys(states), padding)
        for b, t in ((0, 0), (1, 2)):
            q, energies = queries[b, t], []
            for m in states[b]:
                if score == "dot":
                    energies.append(q @ m)
                elif score == "general":
                    energies.append(q @ align.key.weight @ m)
                else:
                    inner = align.query.weight @ q + align.query.bias + align.key.weight @ m
                    energies.append(align.energy.weight[0] @ inner.tanh())
            chances = torch.stack(energies).exp()
            chances = chances / chances.sum()
            torch.testing.assert_close(weights[b, t], chances)
            torch.testing.assert_close(context[b, t], chances @ states[b])


def test_the_recurrent_decoder_follows_luongs_equations_with_input_feeding(target: Tensor):
    decoder = RecurrentDecoder(VOCABULARY, 12, 16, 1, "gru", "general").eval()
    memory = EncoderOutput(torch.randn(3, 6, 12), torch.zeros(3, 6).bool())
    cell = nn.GRUCell(32, 16)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in decoder.cells.state_dict().items()})
    hidden, said, expected = decoder.first(memory.states.mean(1)).tanh(), torch.zeros(3, 16), []
    for tokens in target.unbind(1):
        hidden = cell(torch.cat([4 * decoder.embedding(tokens), said], 1), hidden)
        chances = torch.einsum("bq,qm,bsm->bs", hidden, decoder.alignment.key.weight, memory.states).softmax(1)
        context = torch.einsum("bs,bsm->bm", chances, memory.states)
        said = decoder.mix(torch.cat([context, hidden], 1)).tanh()
        expected.append(said @ decoder.embedding.weight.T)
    torch.testing.assert_close(decoder(target, memory), torch.stack(expected, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recurrent_encoder_hands_on_its_last_state_of_each_direction(cell: str, bidirectional: bool):
    encoder = RecurrentEncoder(VOCABULARY, 12, 2, cell, bidirectional).eval()
    tokens = torch.tensor([[5, 6, 7, 8], [9, 10, PAD, PAD]])
    memory, width = encoder(tokens), 12 // (1 + bidirectional)
    for row, length in ((0, 4), (1, 2)):
        torch.testing.assert_close(memory.last[row, :width], memory.states[row, length - 1, :width])
        if bidirectional:
            torch.testing.assert_close(memory.last[row, width:], memory.states[row, 0, width:])


def test_a_recurrent_decoder_starts_from_the_last_state_or_from_the_mean_if_told_so():
    states, padding = torch.randn(3, 6, 12), torch.zeros(3, 6).bool()
    memory = EncoderOutput(states, padding, last=torch.randn(3, 12))
    for initial_state, seen in (("last", memory.last), ("mean", states.mean(1))):
        decoder = RecurrentDecoder(VOCABULARY, 12, 16, attention="none", initial_state=initial_state).eval()
        (hidden,) = decoder.start(memory)["hidden"]
        torch.testing.assert_close(hidden[:, 0], decoder.first(seen).tanh())
    (hidden,) = RecurrentDecoder(VOCABULARY, 12, 16).eval().start(memory._replace(last=None))["hidden"]
    assert hidden.shape == (3, 1, 16)  # behind a Transformer or on an image


def test_show_attend_and_tell_follows_its_paper(target: Tensor):
    decoder = ShowAttendTell(VOCABULARY, 12, 16, 20, 14).eval()
    memory = EncoderOutput.from_map(torch.randn(3, 12, 2, 3))
    (hidden, cell), expected = decoder.first(memory.states.mean(1)).tanh().split(20, 1), []
    for tokens in target.unbind(1):
        word = 4 * decoder.embedding(tokens)
        _, places = decoder.alignment(
            hidden[:, None], *memory[:1], decoder.alignment.keys(memory.states), memory.padding
        )
        gate = torch.sigmoid(hidden @ decoder.gate.weight.T + decoder.gate.bias)
        context = gate * torch.einsum("bs,bsm->bm", places[:, 0], memory.states)
        hidden, cell = decoder.cell(torch.cat([word, context], 1), (hidden, cell))
        deep = word + decoder.say_state(hidden) + decoder.say_context(context)
        expected.append(deep @ decoder.output.weight.T)
    torch.testing.assert_close(decoder(target, memory), torch.stack(expected, 1), atol=1e-5, rtol=0)
