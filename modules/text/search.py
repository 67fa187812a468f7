"""Decoding strategies: greedy search, beam search and sampling (top-k, nucleus) with any decoder.

All are without gradients and leave the decoder's mode alone: put it into `eval()` first. A finished text leaves the
batch and costs nothing any more.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from modules.contracts import ConfigError, check_range, check_sizes
from modules.text.beam import beam
from modules.text.decoder import Decoder, State
from modules.text.encoder import EncoderOutput
from modules.text.hypotheses import Hypothesis, Limits
from modules.text.tokens import BOS, EOS

__all__ = ["Hypothesis", "Limits", "Search", "beam", "greedy", "likeliest", "sample"]


LEAST = 1e-6  # of temperature and top_p, which are above 0


@torch.no_grad()
def greedy(decoder: Decoder, memory: EncoderOutput, limits: Limits = Limits()) -> list[Hypothesis]:
    """Greedy search: the likeliest token at every step.

    Returns:
        One text for each of the memory's sources.
    """
    return _walk(decoder, decoder.start(memory), len(memory.states), limits, lambda logs: logs.argmax(1))


@torch.no_grad()
def sample(
    decoder: Decoder,
    memory: EncoderOutput,
    limits: Limits = Limits(),
    num_return_sequences: int = 1,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
) -> list[list[Hypothesis]]:
    """Sampling: every token drawn from the decoder's distribution, with temperature, top-k and nucleus (top-p) filters.

    Args:
        decoder: any, in `eval()` mode.
        memory: of B sources.
        limits: constraints on length and repetition.
        num_return_sequences: samples of each source.
        temperature: logits are divided by it, > 0; below 1 is bolder.
        top_k: only the k likeliest tokens, 0 for all.
        top_p: only the likeliest tokens that together have this probability (Holtzman et al. 2020), 0..1.
        generator: of the memory's device; None for torch's own.

    Returns:
        B lists of as many texts as asked for, in the order they were drawn; the score is the decoder's own
        log-probability, whatever the temperature.

    Raises:
        ConfigError: a setting out of its range.
    """
    check_sizes("search", num_return_sequences=num_return_sequences)
    _check_sampling(temperature, top_k, top_p, least=LEAST)

    def draw(logs: Tensor) -> Tensor:
        return likeliest(logs / temperature, top_k, top_p).softmax(1).multinomial(1, generator=generator)[:, 0]

    sources = len(memory.states)
    rows = torch.arange(sources, device=memory.states.device).repeat_interleave(num_return_sequences)
    found = _walk(decoder, decoder.choose(decoder.start(memory), rows), len(rows), limits, draw)
    return [found[i * num_return_sequences : (i + 1) * num_return_sequences] for i in range(sources)]


@dataclass(frozen=True)
class Search:
    """Decoding strategy: greedy search, beam search, or sampling with temperature, top-k and nucleus (top-p) filters.

    Args:
        num_beams: width of the beam search; 1 is greedy search.
        length_penalty: exponent of ((5 + length) / 6), which divides log-probabilities, >= 0; 0 for none, more for
            longer texts.
        num_return_sequences: texts of each source, 1..num_beams, or any number when they are sampled.
        max_length: tokens of a text at most, its end counted.
        min_length: tokens at least before the end.
        no_repeat_ngram_size: no n-gram of this many tokens occurs twice; 0 for off.
        temperature: above 0 samples every token instead, from probabilities that are sharper below 1.
        top_k: only from the k likeliest tokens; 0 for all.
        top_p: only from the likeliest tokens that together have this probability, 0..1.

    Raises:
        ConfigError: a setting out of its range.
    """

    num_beams: int = 5
    length_penalty: float = 1.0
    num_return_sequences: int = 1
    max_length: int = 100
    min_length: int = 0
    no_repeat_ngram_size: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self):
        _ = self.limits
        check_sizes("search", num_beams=self.num_beams, num_return_sequences=self.num_return_sequences)
        check_range("search.length_penalty", self.length_penalty)
        _check_sampling(self.temperature, self.top_k, self.top_p)
        if self.num_return_sequences > self.num_beams and not self.temperature:
            raise ConfigError(
                f"search.num_return_sequences is {self.num_return_sequences}, but search.num_beams is "
                f"{self.num_beams}: a beam search returns no more texts than it has beams"
            )
        if not self.temperature and (self.top_k or self.top_p < 1):
            raise ConfigError("search.top_k and top_p choose what is drawn from: set search.temperature above 0, too")

    @property
    def limits(self) -> Limits:
        return Limits(self.max_length, self.min_length, self.no_repeat_ngram_size)

    @property
    def name(self) -> str:
        """The strategy in words."""
        if self.temperature:
            return f"sampling at temperature {self.temperature:g}"
        return "greedy search" if self.num_beams == 1 else f"beam search with {self.num_beams} beams"

    def __call__(self, decoder: Decoder, memory: EncoderOutput) -> list[list[Hypothesis]]:
        """The texts of each of the memory's sources, the best first, or in the order they were drawn."""
        if self.temperature:
            return sample(
                decoder, memory, self.limits, self.num_return_sequences, self.temperature, self.top_k, self.top_p
            )
        if self.num_beams == 1:
            return [[found] for found in greedy(decoder, memory, self.limits)]
        return beam(decoder, memory, self.num_beams, self.limits, self.length_penalty, self.num_return_sequences)


def _check_sampling(temperature: float, top_k: int, top_p: float, least: float = 0.0) -> None:
    check_range("search.temperature", temperature, least)
    check_range("search.top_k", top_k)
    check_range("search.top_p", top_p, LEAST, 1)


def likeliest(logits: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Top-k and nucleus (top-p) filter.

    Logits (R, V) with minus infinity for all but the `top_k` likeliest, and of these for all but the fewest whose
    probabilities sum to `top_p` at least; 0 and 1 keep all.
    """
    if 0 < top_k < logits.shape[1]:
        logits = logits.masked_fill(logits < logits.topk(top_k, 1).values[:, -1:], -torch.inf)
    if top_p < 1:
        sorted_, order = logits.sort(1, descending=True)
        chances = sorted_.softmax(1)
        beyond = chances.cumsum(1) - chances >= top_p
        logits = logits.masked_fill(beyond.gather(1, order.argsort(1)), -torch.inf)
    return logits


def _walk(
    decoder: Decoder, state: State, rows: int, limits: Limits, pick: Callable[[Tensor], Tensor]
) -> list[Hypothesis]:
    """One hypothesis for each row of the state: `pick` chooses its next tokens (R,) from log-probabilities (R, V)."""
    found: list[Hypothesis | None] = [None] * rows
    device = state["source"][0].device
    alive, total = torch.arange(rows, device=device), torch.zeros(rows, device=device)
    said = torch.empty(rows, 0, dtype=torch.int64, device=device)
    tokens = torch.full((rows,), BOS, device=device)
    for _ in range(limits.max_length):
        logits, state = decoder.step(tokens, state)
        logs = limits.forbid(logits.float().log_softmax(1), said)
        tokens = pick(logs)
        total = total + logs.gather(1, tokens[:, None])[:, 0]
        ended = tokens == EOS
        if ended.any():
            _keep(found, alive[ended], said[ended], total[ended], True)
        said = torch.cat([said, tokens[:, None]], 1)
        if ended.any():
            kept = (~ended).nonzero()[:, 0]
            alive, total, said, tokens = alive[kept], total[kept], said[kept], tokens[kept]
            if not len(kept):
                break
            state = decoder.choose(state, kept)
    _keep(found, alive, said, total, False)
    return found


def _keep(found: list, places: Tensor, said: Tensor, total: Tensor, finished: bool) -> None:
    """Writes hypotheses to their places."""
    for place, tokens, value in zip(places.tolist(), said.tolist(), total.tolist(), strict=True):
        found[place] = Hypothesis(tokens, value, value, finished)
