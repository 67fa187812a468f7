"""Beam search."""

import torch
from torch import Tensor

from modules.contracts import ConfigError
from modules.text.decoder import Decoder
from modules.text.encoder import EncoderOutput
from modules.text.hypotheses import Hypothesis, Limits
from modules.text.tokens import BOS, EOS


@torch.no_grad()
def beam(
    decoder: Decoder,
    memory: EncoderOutput,
    num_beams: int = 5,
    limits: Limits = Limits(),
    length_penalty: float = 1.0,
    num_return_sequences: int = 1,
) -> list[list[Hypothesis]]:
    """Beam search: extend the `num_beams` likeliest beginnings of every source until as many have ended.

    Texts are ranked by log-probability / ((5 + length) / 6)^length_penalty, the end counted in the length (Wu et al.
    2016). A source is done when `num_beams` of its texts have ended, or when no beginning can any more overtake the
    best `num_return_sequences` of them. Where fewer have ended at the maximal length, the likeliest beginnings stand
    in, with `finished` False.

    Args:
        decoder: any, in `eval()` mode.
        memory: of B sources.
        num_beams: of the beam, >= 1; 1 is greedy search.
        limits: constraints on length and repetition.
        length_penalty: its exponent, >= 0; 0 for none, more for longer texts.
        num_return_sequences: texts of each source, 1..num_beams.

    Returns:
        B lists of `num_return_sequences` texts, finished before unfinished ones, the best first; fewer where there are
        no more.

    Raises:
        ConfigError: a setting out of its range.
    """
    if not 1 <= num_return_sequences <= num_beams or length_penalty < 0:
        raise ConfigError(
            f"num_beams {num_beams}, num_return_sequences {num_return_sequences}, length_penalty {length_penalty}: "
            "needs 1 <= num_return_sequences <= num_beams, length_penalty >= 0"
        )
    search = _Beams(decoder, memory, num_beams, limits, length_penalty, num_return_sequences)
    tokens = torch.full((len(memory.states), 1), BOS, device=memory.states.device)
    for _ in range(limits.max_length):
        tokens = search.advance(tokens)
        if not len(tokens):
            break
    return search.results()


class _Beams:
    """The live beginnings of the sources that are not done, (N, K) of them, and the texts that have ended."""

    def __init__(
        self,
        decoder: Decoder,
        memory: EncoderOutput,
        num_beams: int,
        limits: Limits,
        length_penalty: float,
        num_return_sequences: int,
    ):
        self.decoder, self.state, self.limits = decoder, decoder.start(memory), limits
        self.num_beams, self.length_penalty = num_beams, length_penalty
        self.num_return_sequences = num_return_sequences
        sources, device = len(memory.states), memory.states.device
        self.alive = torch.arange(sources, device=device)
        self.totals = torch.zeros(sources, 1, device=device)
        self.said = torch.empty(sources, 1, 0, dtype=torch.int64, device=device)
        self.ended: list[list[Hypothesis]] = [[] for _ in range(sources)]

    def advance(self, tokens: Tensor) -> Tensor:
        """Reads the last tokens (N, K) of all beginnings; returns those of the next ones, of sources not done."""
        totals, beams, tokens = self._candidates(tokens)
        ends = tokens == EOS
        self._collect(totals, beams, ends)
        # A beginning has one end: of 2 K candidates K go on. Of fewer, those that ended go on as impossible ones.
        totals = totals.masked_fill(ends, -torch.inf)
        order = ends.int().argsort(stable=True, dim=1)[:, : self.num_beams]
        totals, beams, tokens = totals.gather(1, order), beams.gather(1, order), tokens.gather(1, order)
        rows = beams + torch.arange(len(beams), device=beams.device)[:, None] * self.said.shape[1]
        self.said = torch.cat([self.said.flatten(0, 1)[rows], tokens[..., None]], 2)
        self.totals = totals
        return self._leave(rows, tokens)

    def _candidates(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The 2 K likeliest ways on: log-probabilities, beams and tokens (N, 2 K), the best first."""
        logits, self.state = self.decoder.step(tokens.flatten(), self.state)
        logs = self.limits.forbid(logits.float().log_softmax(1), self.said.flatten(0, 1))
        values, next_ = logs.topk(min(2 * self.num_beams, logs.shape[1]), 1)
        values = self.totals[..., None] + values.view(*self.totals.shape, -1)
        totals, which = values.flatten(1).topk(min(2 * self.num_beams, values[0].numel()), 1)
        beams = which.div(values.shape[2], rounding_mode="floor")
        return totals, beams, next_.view(len(values), -1).gather(1, which)

    def _collect(self, totals: Tensor, beams: Tensor, ends: Tensor) -> None:
        """Keeps the texts that ended among the K likeliest candidates."""
        ends = (ends & totals.isfinite())[:, : self.num_beams]
        source, place = ends.nonzero(as_tuple=True)
        texts, values = self.said[source, beams[source, place]].tolist(), totals[source, place].tolist()
        for where, tokens, total in zip(self.alive[source].tolist(), texts, values, strict=True):
            self.ended[where].append(self._hypothesis(tokens, total, True))

    def _leave(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Takes the sources that are done out of the batch."""
        reach = (self.totals[:, 0] / self._penalty(self.limits.max_length)).tolist()
        alive = self.alive.tolist()
        going = [i for i, source in enumerate(alive) if not self._done(self.ended[source], reach[i])]
        if len(going) < len(alive):
            kept = torch.tensor(going, dtype=torch.int64, device=rows.device)
            rows, tokens, self.alive = rows[kept], tokens[kept], self.alive[kept]
            self.totals, self.said = self.totals[kept], self.said[kept]
        if len(going):
            self.state = self.decoder.choose(self.state, rows.flatten())
        return tokens

    def _done(self, ended: list[Hypothesis], reach: float) -> bool:
        """True if enough texts have ended, or the best beginning, even ended at no cost, cannot be among the best."""
        if len(ended) >= self.num_beams or reach == -torch.inf:
            return True
        return (
            len(ended) >= self.num_return_sequences
            and sorted(text.score for text in ended)[-self.num_return_sequences] >= reach
        )

    def results(self) -> list[list[Hypothesis]]:
        found = [sorted(ended, key=lambda text: -text.score)[: self.num_return_sequences] for ended in self.ended]
        for row, source in enumerate(self.alive.tolist()):
            pairs = zip(self.said[row].tolist(), self.totals[row].tolist(), strict=True)
            begun = [self._hypothesis(tokens, total, False) for tokens, total in pairs if total != -torch.inf]
            found[source] += begun[: self.num_return_sequences - len(found[source])]
        return found

    def _hypothesis(self, tokens: list[int], total: float, finished: bool) -> Hypothesis:
        return Hypothesis(tokens, total / self._penalty(len(tokens) + finished), total, finished)

    def _penalty(self, length: int) -> float:
        return ((5 + length) / 6) ** self.length_penalty
