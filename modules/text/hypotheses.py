"""Texts that were found, and what may be searched for."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from modules.contracts import ConfigError
from modules.text.tokens import BOS, EOS, PAD


class Hypothesis(NamedTuple):
    """A text that was found.

    Args:
        tokens: without BOS and EOS.
        score: what it was ranked by: the log-probability over the length penalty, if there is one.
        log_probability: of all its tokens and, if finished, the end, in nats, as the decoder gives it.
        finished: False where the longest allowed length came before the end.
    """

    tokens: list[int]
    score: float
    log_probability: float
    finished: bool


@dataclass(frozen=True)
class Limits:
    """What a search may say.

    Args:
        longest: tokens at most, the end counted.
        shortest: tokens at least before the end may come, unless `block` leaves nothing else to say.
        block: no n-gram of this many tokens occurs twice; 0 for off.
        never: tokens that are never said.

    Raises:
        ConfigError: limits that nothing meets.
    """

    longest: int = 100
    shortest: int = 0
    block: int = 0
    never: tuple[int, ...] = (PAD, BOS)

    def __post_init__(self):
        if not (self.longest >= 1 and 0 <= self.shortest < self.longest and self.block >= 0):
            raise ConfigError(
                f"a text of {self.shortest} to {self.longest} tokens without repeated {self.block}-grams cannot be "
                "searched for: choose 0 <= shortest < longest and block >= 0"
            )

    def forbid(self, logs: Tensor, said: Tensor) -> Tensor:
        """Overwrites log-probabilities (R, V) with minus infinity where no such token may follow `said` (R, t)."""
        end = logs[:, EOS].clone()
        logs[:, list(self.never)] = -torch.inf
        if said.shape[1] < self.shortest:
            logs[:, EOS] = -torch.inf
        if 0 < self.block <= said.shape[1]:
            grams = said.unfold(1, self.block, 1)
            begun = said[:, said.shape[1] - self.block + 1 :]
            again = (grams[..., :-1] == begun[:, None]).all(-1)
            logs.scatter_(1, grams[..., -1].where(again, PAD), -torch.inf)
            stuck = logs.amax(1) == -torch.inf
            logs[stuck, EOS] = end[stuck]
        return logs
