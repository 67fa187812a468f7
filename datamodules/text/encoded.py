"""Sentence pairs as token ids, and batches of them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.text.bitext import Bitext
from modules.contracts import Batch
from modules.text.tokens import BOS, EOS, PAD


@dataclass(frozen=True)
class Ids:
    """Token ids of many texts, one after the other.

    Args:
        tokens: int32, all of them.
        starts: int64 (N + 1,), the beginning of each text, and the end.
    """

    tokens: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, rows: list[list[int]], max_length: int) -> "Ids":
        """Each text's first `max_length` tokens."""
        starts = np.cumsum([0, *(min(len(row), max_length) for row in rows)])
        flat = (token for row in rows for token in row[:max_length])
        return cls(np.fromiter(flat, np.int32, count=int(starts[-1])), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.tokens[self.starts[row] : self.starts[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text, int64 (N,)."""
        return np.diff(self.starts)


class EncodedPairs(Dataset):
    """Batches by key (epoch, rows): `source` int64 (B, S), pieces and EOS.

    `target` int64 (B, T), BOS, pieces and EOS; both right-padded; `source_text`, `target_text`, `id`; `cut`, B bools,
    true for a truncated source; and `row` int64 (B,), the place in the split. Sentences to be translated have no
    target.

    Args:
        pairs: the texts.
        indices: of the pairs that are used, int64 (N,).
        source, target: their ids, N each.
        cut: bool (N,), true for truncated sources; null for none.
    """

    def __init__(
        self, pairs: Bitext, indices: np.ndarray, source: Ids, target: Ids | None, cut: np.ndarray | None = None
    ):
        self.pairs, self.indices, self.source, self.target = pairs, indices, source, target
        self.cut = np.zeros(len(indices), bool) if cut is None else cut

    def __len__(self) -> int:
        return len(self.indices)

    def texts(self, side: Literal["source", "target"]) -> list[str]:
        """The sentences of one side."""
        texts = self.pairs.source if side == "source" else self.pairs.target
        return [texts[i] for i in self.indices]

    @property
    def lengths(self) -> np.ndarray:
        """int64 (N,): tokens of each pair's longer side as the network sees them, EOS included."""
        sides = [ids.lengths for ids in (self.source, self.target) if ids is not None]
        return np.maximum.reduce(sides) + 1

    def __getitem__(self, key: tuple[int, np.ndarray]) -> Batch:
        _, rows = key
        chosen = self.indices[rows]
        batch: Batch = {
            "source": padded([self.source[row] for row in rows], first=None),
            "source_text": [self.pairs.source[i] for i in chosen],
            "id": [self.pairs.id(i) for i in chosen],
            "cut": self.cut[rows].tolist(),
            "row": torch.from_numpy(np.asarray(rows, np.int64)),
        }
        if self.target is not None:
            batch["target"] = padded([self.target[row] for row in rows], first=BOS)
            batch["target_text"] = [self.pairs.target[i] for i in chosen]
        return batch


def padded(rows: list[np.ndarray], first: int | None) -> Tensor:
    """Token ids as int64 (B, L), each behind `first` if there is one and before EOS, then PAD."""
    begin = first is not None
    batch = np.full((len(rows), max(map(len, rows)) + 1 + begin), PAD, np.int64)
    for line, row in zip(batch, rows, strict=True):
        line[begin : begin + len(row)] = row
        line[begin + len(row)] = EOS
    if begin:
        batch[:, 0] = first
    return torch.from_numpy(batch)
