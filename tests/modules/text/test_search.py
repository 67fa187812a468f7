"""Search over decoders whose probabilities are known, and over real ones."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from modules.contracts import ConfigError
from modules.text.decoder import Decoder, State
from modules.text.encoder import EncoderOutput
from modules.text.recurrent import RecurrentDecoder
from modules.text.search import Limits, beam, greedy, likeliest, sample
from modules.text.tokens import BOS, EOS, PAD, UNK
from modules.text.transformer import TransformerDecoder
from tests.helpers.errors import refuses

A, B, C = 4, 5, 6


class Table(Decoder):
    """Logits looked up by source, step, the token before and the last one; counts the rows of every step.

    A source is the number in its memory's only place.
    """

    def __init__(self, vocabulary: int = 7, sources: int = 3, steps: int = 8, sharp: float = 1.5):
        super().__init__()
        self.table = sharp * torch.randn(sources, steps, vocabulary, vocabulary, vocabulary)
        self.rows: list[int] = []

    def start(self, memory: EncoderOutput) -> State:
        zeros = torch.zeros(len(memory.states), dtype=torch.int64)
        return {"source": [memory.states[:, 0, 0].long()], "text": [zeros, zeros + BOS]}

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        self.rows.append(len(tokens))
        time, before = state["text"]
        source = state["source"][0].repeat_interleave(len(tokens) // len(state["source"][0]))
        logits = self.table[source, time, before, tokens]
        return logits, {"source": state["source"], "text": [time + 1, tokens]}

    def log_probability(self, source: int, text: list[int]) -> float:
        """Log-probability of a whole text, the end included if it is there."""
        total, before, last = 0.0, BOS, BOS
        for time, token in enumerate(text):
            total += self.table[source, time, before, last].log_softmax(0)[token].item()
            before, last = last, token
        return total


def sources(number: int) -> EncoderOutput:
    return EncoderOutput(torch.arange(number).float()[:, None, None], torch.zeros(number, 1).bool())


def every_text(longest: int, tokens: tuple[int, ...] = (UNK, A, B, C)) -> list[list[int]]:
    return [[*text, EOS] for length in range(longest) for text in product(tokens, repeat=length)]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("shortest", [0, 2])
def test_a_wide_beam_equals_exhaustive_search(alpha: float, shortest: int):
    decoder = Table()
    texts = [text for text in every_text(4) if len(text) > shortest]
    found = beam(decoder, sources(3), len(texts) + 4**4, Limits(4, shortest), alpha, num_return_sequences=10)
    for source in range(3):
        ranked = [(decoder.log_probability(source, t) / ((5 + len(t)) / 6) ** alpha, t[:-1]) for t in texts]
        expected = sorted(ranked, reverse=True)[:10]
        assert [text.tokens for text in found[source]] == [tokens for _, tokens in expected]
        for text, (score, tokens) in zip(found[source], expected, strict=True):
            assert text.score == pytest.approx(score, abs=1e-5)
            assert text.log_probability == pytest.approx(decoder.log_probability(source, [*tokens, EOS]), abs=1e-5)
            assert text.finished


def test_a_beam_finds_what_greedy_search_walks_past():
    decoder = Table(steps=2, sources=1)
    decoder.table.fill_(-9)
    decoder.table[0, 0, BOS, BOS, [A, B]] = torch.tensor([0.6, 0.4]).log()
    decoder.table[0, 1, BOS, A, [EOS, B, C]] = torch.tensor([0.3, 0.35, 0.35]).log()
    decoder.table[0, 1, BOS, B, EOS] = 0
    limits = Limits(2)
    assert greedy(decoder, sources(1), limits)[0].tokens[0] == A
    best = beam(decoder, sources(1), 2, limits, 0)[0][0]
    assert (best.tokens, best.finished) == ([B], True)
    assert math.exp(best.score) == pytest.approx(0.4, abs=0.01)


def test_a_beam_of_one_equals_greedy_search():
    decoder = Table(sources=200, steps=12)
    limits = Limits(12)
    ones, greedily = beam(decoder, sources(200), 1, limits, 0), greedy(decoder, sources(200), limits)
    assert [text.tokens for [text] in ones] == [text.tokens for text in greedily]
    assert [text.finished for [text] in ones] == [text.finished for text in greedily]
    assert {text.finished for text in greedily} == {True, False}
    assert [text.score for [text] in ones] == pytest.approx([text.score for text in greedily], abs=1e-5)


def test_sources_are_searched_as_if_each_were_alone():
    decoder, all_ = Table(sources=20, steps=10), sources(20)
    together = beam(decoder, all_, 3, Limits(10), num_return_sequences=2)
    for i in range(20):
        one = EncoderOutput(all_.states[i : i + 1], all_.padding[:1])
        [alone] = beam(decoder, one, 3, Limits(10), num_return_sequences=2)
        assert [text.tokens for text in alone] == [text.tokens for text in together[i]]


def test_the_n_best_are_different_and_in_order():
    for texts in beam(Table(), sources(3), 6, Limits(8), num_return_sequences=6):
        assert len({(*text.tokens, text.finished) for text in texts}) == len(texts) == 6
        assert [text.score for text in texts if text.finished] == sorted(
            (t.score for t in texts if t.finished), reverse=True
        )


@pytest.mark.parametrize("size", [None, 1, 4])
def test_a_search_that_never_ends_gives_the_best_unfinished_text_and_says_so(size: int | None):
    decoder = Table(steps=5)
    decoder.table[..., EOS] = -30
    found = greedy(decoder, sources(3), Limits(5))
    if size is not None:
        found = [texts[0] for texts in beam(decoder, sources(3), size, Limits(5))]
    for source, text in enumerate(found):
        assert not text.finished
        assert len(text.tokens) == 5
        assert text.log_probability == pytest.approx(decoder.log_probability(source, text.tokens), abs=1e-5)


def test_finished_texts_come_before_unfinished_ones():
    decoder = Table(sources=1, steps=3)
    decoder.table[..., EOS] = -4
    texts = beam(decoder, sources(1), 4, Limits(3), num_return_sequences=4)[0]
    assert [text.finished for text in texts] == sorted((text.finished for text in texts), reverse=True)
    assert len(texts) == 4


def scripted(lengths: list[int], steps: int = 10) -> Table:
    """Says A until its source's length is reached, then the end, almost for sure."""
    decoder = Table(sources=len(lengths), steps=steps)
    decoder.table.fill_(-20)
    for source, length in enumerate(lengths):
        decoder.table[source, :length, ..., A] = 0
        decoder.table[source, length:, ..., EOS] = 0
    return decoder


@pytest.mark.parametrize("search", [greedy, sample])
def test_finished_texts_leave_the_batch(search):
    decoder = scripted([2, 0, 5])
    search(decoder, sources(3))
    assert decoder.rows == [3, 2, 2, 1, 1, 1]


def test_sources_whose_beam_is_done_leave_the_batch():
    decoder = scripted([2, 0, 5])
    found = beam(decoder, sources(3), 2, Limits(10), length_penalty=0)
    assert [len(text.tokens) for [text] in found] == [2, 0, 5]
    # One row for each source at first, then two; without a length penalty the first end of a text is the best.
    assert decoder.rows == [3, 4, 4, 2, 2, 2]


def test_lengths_are_kept():
    decoder = scripted([0, 3, 9], steps=12)
    for found in (greedy(decoder, sources(3), Limits(6, 2)), [t for [t] in beam(decoder, sources(3), 3, Limits(6, 2))]):
        assert [(len(text.tokens), text.finished) for text in found] == [(2, True), (3, True), (6, False)]


def test_no_n_gram_is_said_twice():
    decoder = Table(sources=30, steps=14)
    decoder.table[..., EOS] -= 4
    for size in (1, 2, 3):
        limits = Limits(14, no_repeat_ngram_size=size)
        texts = [t.tokens for t in greedy(decoder, sources(30), limits)]
        texts += [t.tokens for best in beam(decoder, sources(30), 3, limits, num_return_sequences=3) for t in best]
        for text in texts:
            grams = list(zip(*(text[i:] for i in range(size)), strict=False))
            assert len(set(grams)) == len(grams)
    free = [t.tokens for t in greedy(decoder, sources(30), Limits(14))]
    assert any(len(set(text)) < len(text) for text in free)


def test_a_text_ends_early_where_blocking_leaves_nothing_to_say():
    decoder = Table(steps=9)
    for text in (greedy(decoder, sources(1), Limits(9, 7, 1))[0], beam(decoder, sources(1), 2, Limits(9, 7, 1))[0][0]):
        assert (sorted(text.tokens), text.finished) == ([UNK, A, B, C], True)
        assert text.log_probability == pytest.approx(decoder.log_probability(0, [*text.tokens, EOS]), abs=1e-5)


def test_tokens_that_are_forbidden_are_never_said():
    decoder = Table(sources=50)
    decoder.table[..., [PAD, BOS, UNK]] += 3
    limits = Limits(8, never=(PAD, BOS, UNK))
    texts = [t for best in sample(decoder, sources(50), limits, 4) for t in best]
    texts += [
        *greedy(decoder, sources(50), limits),
        *(t for best in beam(decoder, sources(50), 2, limits) for t in best),
    ]
    assert {token for text in texts for token in text.tokens} == {A, B, C}


def test_samples_come_as_often_as_they_are_likely():
    decoder = Table(sources=2, steps=2)
    limits = Limits(2, never=())
    drawn = sample(decoder, sources(2), limits, num_return_sequences=20000, generator=torch.Generator().manual_seed(0))
    assert [len(texts) for texts in drawn] == [20000, 20000]
    for source, texts in enumerate(drawn):
        for text in ([EOS], [A, EOS], [B, C], [UNK, A]):
            said = [token for token in text if token != EOS]
            share = sum(t.tokens == said and t.finished == (EOS in text) for t in texts) / 20000
            assert share == pytest.approx(math.exp(decoder.log_probability(source, text)), abs=0.012)
        for text in texts[:50]:
            whole = [*text.tokens, EOS] if text.finished else text.tokens
            assert text.log_probability == pytest.approx(decoder.log_probability(source, whole), abs=1e-4)


def test_temperature_sharpens_and_flattens():
    decoder = Table(sources=1, steps=1)
    logits = decoder.table[0, 0, BOS, BOS].clone()
    for temperature in (0.5, 2.0):
        limits, random = Limits(1, never=()), torch.Generator().manual_seed(0)
        [texts] = sample(decoder, sources(1), limits, 20000, temperature, generator=random)
        share = sum(text.tokens == [A] for text in texts) / 20000
        assert share == pytest.approx((logits / temperature).softmax(0)[A].item(), abs=0.012)


def test_sampling_from_the_likeliest_token_alone_is_greedy_search():
    decoder = Table(sources=40)
    expected = [text.tokens for text in greedy(decoder, sources(40), Limits(8))]
    for settings in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}):
        assert [text.tokens for [text] in sample(decoder, sources(40), Limits(8), **settings)] == expected


def test_top_k_and_top_p_keep_the_likeliest():
    logits = torch.tensor([[0.1, 0.4, 0.05, 0.3, 0.15], [0.2, 0.1, 0.5, 0.15, 0.05]]).log()
    kept = lambda **settings: likeliest(logits, **settings).isfinite().nonzero().tolist()  # noqa: E731
    assert kept(top_k=2) == [[0, 1], [0, 3], [1, 0], [1, 2]]
    assert kept(top_p=0.69) == [[0, 1], [0, 3], [1, 0], [1, 2]]
    assert kept(top_p=0.71) == [[0, 1], [0, 3], [0, 4], [1, 0], [1, 2], [1, 3]]
    assert kept(top_k=3, top_p=0.5) == [[0, 1], [0, 3], [1, 2]]
    assert kept(top_k=99) == kept() == [[row, column] for row in range(2) for column in range(5)]


@pytest.mark.parametrize(
    "make", [lambda: TransformerDecoder(40, 16, 16, 2, feedforward=32), lambda: RecurrentDecoder(40, 16, 16)]
)
def test_search_over_a_real_decoder_equals_search_without_a_cache(make):
    decoder = make().eval()
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.5)
    memory = EncoderOutput(torch.randn(6, 5, 16), torch.zeros(6, 5).bool())
    limits = Limits(12)
    other = Uncached(decoder)
    pairs = [(greedy(decoder, memory, limits), greedy(other, memory, limits))]
    pairs += zip(
        beam(decoder, memory, 4, limits, num_return_sequences=4),
        beam(other, memory, 4, limits, num_return_sequences=4),
        strict=True,
    )
    for found, again in pairs:
        assert [(text.tokens, text.finished) for text in found] == [(text.tokens, text.finished) for text in again]
        assert [text.score for text in found] == pytest.approx([text.score for text in again], abs=1e-4)
        assert len({tuple(text.tokens) for text in found}) > 3


class Uncached(Decoder):
    """Reads the whole text again at every step."""

    def __init__(self, decoder: Decoder):
        super().__init__()
        self.decoder = decoder

    def start(self, memory: EncoderOutput) -> State:
        return {
            "source": [memory.states, memory.padding],
            "text": [torch.empty(len(memory.states), 0, dtype=torch.int64)],
        }

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        text = torch.cat([state["text"][0], tokens[:, None]], 1)
        each = len(text) // len(state["source"][0])
        memory = EncoderOutput(*(value.repeat_interleave(each, 0) for value in state["source"]))
        return self.decoder(text, memory)[:, -1], {"source": state["source"], "text": [text]}


@pytest.mark.parametrize(
    ("settings", "name"),
    [((0,), "max_length"), ((5, 5), "min_length"), ((5, -1), "min_length"), ((5, 0, -1), "no_repeat_ngram_size")],
)
def test_limits_that_nothing_meets_are_refused(settings: tuple[int, ...], name: str):
    with refuses(ConfigError, f"search.{name}", settings[-1]):
        Limits(*settings)


def test_settings_out_of_range_are_refused():
    for settings in ({"num_beams": 0}, {"num_return_sequences": 3, "num_beams": 2}, {"length_penalty": -1.0}):
        with refuses(ConfigError, *settings, *settings.values()):
            beam(Table(), sources(1), **settings)
    for settings in ({"temperature": 0.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}, {"num_return_sequences": 0}):
        with refuses(ConfigError, *settings, *(f"{value:g}" for value in settings.values())):
            sample(Table(), sources(1), **settings)
