"""Near duplicates of sentences across splits: other case, other punctuation, a word or two changed.

Sentences are compared by the Jaccard similarity of their shingles, the runs of five words. All pairs above the least
similarity are found by prefix filtering (Bayardo et al. 2007): such a pair shares one of its rarest shingles.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
from scipy.sparse import csr_array

SHINGLE = 5  # words
SIMILAR = 0.5  # least Jaccard similarity
MOST = 100  # sentences with one rare shingle that a sentence is compared with: of templates there are more
BLOCK = 1 << 18  # pairs that are compared at once
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"  # written without blanks
WORD = re.compile(rf"\n|[{CJK}]|[^\W_{CJK}]+")


def near_sentences(
    sides: Sequence[Sequence[str]], splits: np.ndarray, least: float = SIMILAR
) -> list[tuple[int, int, float]]:
    """Pairs of sentences in different splits that read alike: both indices, ascending, and their similarity.

    Of sentences with equal shingles in one split only the first is compared.

    Args:
        sides: N sentences each, such as source and target; a pair has the shingles of all sides.
        splits: int (N,), number of the split of each.
        least: Jaccard similarity in (0, 1].
    """
    rows, words = _shingles(sides)
    _, words, frequency = np.unique(words, return_inverse=True, return_counts=True)
    order = np.lexsort((words, frequency[words], rows))  # the rarest of each sentence first
    rows, words = rows[order], words[order]
    kept = _first_of_equal(rows, words, splits)
    rows, words = rows[kept[rows]], words[kept[rows]]
    first, second = _candidates(rows, words, splits, least)
    total = len(splits)
    sizes = np.bincount(rows, minlength=total)
    shown: Any = csr_array((np.ones(len(rows), np.int32), (rows, words)), shape=(total, len(frequency)))
    found: list[tuple[int, int, float]] = []
    for start in range(0, len(first), BLOCK):
        i, j = first[start : start + BLOCK], second[start : start + BLOCK]
        shared = shown[i].multiply(shown[j]).sum(1)
        similarity = shared / (sizes[i] + sizes[j] - shared)
        near = similarity >= least
        found += zip(i[near].tolist(), j[near].tolist(), similarity[near].tolist(), strict=True)
    return sorted(found)


def _shingles(sides: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Sentence and hash of each shingle, int64 and uint64 (M,), none twice; short sentences are one shingle."""
    random, numbers, found = np.random.default_rng(0), defaultdict(count().__next__), []
    for texts in sides:
        normal = unicodedata.normalize("NFKC", "\n".join(texts)).casefold()
        codes = np.fromiter(map(numbers.__getitem__, ["\n", *WORD.findall(normal), "\n"]), np.int64)
        ends = np.flatnonzero(codes == numbers["\n"])
        values = random.integers(0, 2**63, len(numbers), np.int64).astype(np.uint64)[codes]
        lengths = np.diff(ends) - 1
        runs = np.where(lengths, np.maximum(1, lengths - SHINGLE + 1), 0)
        rows = np.repeat(np.arange(len(texts)), runs)
        places = np.arange(len(rows)) - np.repeat(np.cumsum(runs) - runs, runs) + ends[rows] + 1
        salt = random.integers(1, 2**63, SHINGLE, np.int64).astype(np.uint64) | np.uint64(1)
        hashes = np.zeros(len(rows), np.uint64)
        for k in range(SHINGLE):
            inside = k < lengths[rows]
            hashes[inside] += salt[k] * values[places[inside] + k]
        found.append(np.unique(np.rec.fromarrays([rows, hashes])))
    every = np.concatenate(found)
    return every["f0"], every["f1"]


def _first_of_equal(rows: np.ndarray, words: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """True for the first sentence of each set of shingles in each split, bool (N,)."""
    values = np.random.default_rng(1).integers(0, 2**63, words.max(initial=0) + 1, np.int64).astype(np.uint64)
    sums = np.zeros(len(splits), np.uint64)
    np.add.at(sums, rows, values[words])
    kept = np.zeros(len(splits), bool)
    kept[np.unique(np.rec.fromarrays([splits, sums]), return_index=True)[1]] = True
    return kept


def _candidates(rows: np.ndarray, words: np.ndarray, splits: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of different splits that share one of their rarest shingles, first < second.

    Args:
        rows: sentence of each shingle, ascending, its rarest first.
        words: the shingles.
        splits: of the sentences.
        least: similarity.
    """
    sizes = np.bincount(rows, minlength=len(splits))
    prefix = sizes - np.ceil(least * sizes - 1e-9).astype(np.int64) + 1
    starts = np.cumsum(sizes) - sizes
    rare = np.arange(len(rows)) - starts[rows] < prefix[rows]
    rows, words = rows[rare], words[rare]
    order = np.lexsort((splits[rows], words))
    rows, words = rows[order], words[order]
    keys = words * (int(splits.max(initial=0)) + 1) + splits[rows]
    after, end = np.searchsorted(keys, keys, side="right"), np.searchsorted(words, words, side="right")
    partners = np.minimum(end - after, MOST)
    one = np.repeat(np.arange(len(rows)), partners)
    other = np.arange(len(one)) - np.repeat(np.cumsum(partners) - partners, partners) + np.repeat(after, partners)
    i, j = rows[one], rows[other]
    pairs = np.unique(np.minimum(i, j) * len(splits) + np.maximum(i, j))
    return pairs // len(splits), pairs % len(splits)
