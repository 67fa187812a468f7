"""Hypotheses of a search, and constraints on decoding."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from modules.contracts import ConfigError, check_range, check_sizes
from modules.text.tokens import BOS, EOS, PAD


class Hypothesis(NamedTuple):
    """Result of a search: a decoded text with its score.

    Args:
        tokens: without BOS and EOS.
        score: for ranking: the log-probability over the length penalty, if there is one.
        log_probability: of all its tokens and, if finished, the end, in nats, as the decoder gives it.
        finished: False where the longest allowed length came before the end.
    """

    tokens: list[int]
    score: float
    log_probability: float
    finished: bool


@dataclass(frozen=True)
class Limits:
    """Constraints on decoding: length, n-gram blocking (no repeats), forbidden tokens.

    Args:
        max_length: tokens at most, the end counted.
        min_length: tokens at least before the end may come, unless `no_repeat_ngram_size` leaves no other token.
        no_repeat_ngram_size: no n-gram of this many tokens occurs twice; 0 for off.
        never: tokens that are never generated.

    Raises:
        ConfigError: limits that nothing meets.
    """

    max_length: int = 100
    min_length: int = 0
    no_repeat_ngram_size: int = 0
    never: tuple[int, ...] = (PAD, BOS)

    def __post_init__(self):
        check_sizes("search", max_length=self.max_length)
        if not 0 <= self.min_length < self.max_length:
            raise ConfigError(
                f"search.min_length is {self.min_length}, but must be 0 or more and below search.max_length "
                f"{self.max_length}"
            )
        check_range("search.no_repeat_ngram_size", self.no_repeat_ngram_size)

    def forbid(self, logs: Tensor, said: Tensor) -> Tensor:
        """Overwrites log-probabilities (R, V) with minus infinity where no such token may follow `said` (R, t)."""
        end = logs[:, EOS].clone()
        logs[:, list(self.never)] = -torch.inf
        if said.shape[1] < self.min_length:
            logs[:, EOS] = -torch.inf
        if 0 < self.no_repeat_ngram_size <= said.shape[1]:
            grams = said.unfold(1, self.no_repeat_ngram_size, 1)
            begun = said[:, said.shape[1] - self.no_repeat_ngram_size + 1 :]
            again = (grams[..., :-1] == begun[:, None]).all(-1)
            logs.scatter_(1, grams[..., -1].where(again, PAD), -torch.inf)
            stuck = logs.amax(1) == -torch.inf
            logs[stuck, EOS] = end[stuck]
        return logs
