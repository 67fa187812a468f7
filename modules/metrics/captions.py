"""Metrics of captions, as pycocoevalcap computes them: BLEU-1 to 4, CIDEr-D and ROUGE-L against several references."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from html import unescape
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from modules.metrics import meteor
from modules.metrics.bootstrap import Statistic
from modules.metrics.bootstrap.records import means
from modules.metrics.bootstrap.sentences import captions as of_captions
from modules.metrics.scripts import spaced
from modules.metrics.sentence_metric import Corpus

Words = list[str]
Grams = Counter[tuple[str, ...]]
"""Counts of n-grams of 1 to 4 words."""

PROTOCOLS = {
    **{
        f"bleu_{n}": f"corpus BLEU-{n} of PTB tokens in lower case without punctuation, closest reference length, "
        "all references, as pycocoevalcap, 0..1"
        for n in range(1, 5)
    },
    "cider": "CIDEr-D, mean over images, n-grams weighed by the references of the set, all references, as "
    "pycocoevalcap, 0..10",
    "rouge_l": "ROUGE-L, beta 1.2, best precision and recall of all references, mean over images, as pycocoevalcap, "
    "0..1",
    "exact_match": "share of images whose caption is one of the references, by their tokens",
    "meteor": meteor.PROTOCOL,
}
"""Protocol of each metric, in words."""

TOKEN = re.compile(
    r"""
      https?://\S+ | \w[\w.+-]*@\w+(?:\.\w+)+                                # addresses
    | \b(?:[^\W\d_]\.)+(?!\w) | nos?\.(?=\s*\d)                              # u.s., and other abbreviations
    | (?:mrs?|ms|dr|st|ft|jr|sr|vs|etc|inc|co|corp|ltd|prof|gen|rev|sgt|lt|capt|ave|blvd|dept)\.
    | can(?=not\b) | gon(?=na\b) | wan(?=na\b) | got(?=ta\b) | gim(?=me\b) | lem(?=me\b) | 't(?=(?:is|was)\b)
    | '(?:s|m|d|re|ve|ll|em)\b | n't\b | n(?='t\b)                           # endings of contractions
    | o'clock | '\d\ds | 'n' | [dl]'\w+
    | \d+(?:[.,:/-]\d+)+(?:[^\W_](?!'t\b))*                                  # numbers, times, 3rd
    | (?:[^\W_](?!'t\b))+(?:[-./&](?:[^\W_](?!'t\b))+)*(?:\+\+)?             # words, with hyphens and the like inside
    | \.\.\. | --+ | [?!]{2,} | \S
    """,
    re.VERBOSE,
)
DROPPED = {*"\"'`.?!,:;-…–—", "--", "..."}
BRACKETS = dict(zip("()[]{}", "-lrb- -rrb- -lsb- -rsb- -lcb- -rcb-".split(), strict=True))
QUOTES = str.maketrans("’‘“”", "''\"\"")


def tokens(caption: str) -> Words:
    """Words of a caption in lower case, without punctuation, as pycocoevalcap has them from Stanford's PTBTokenizer.

    Scripts without spaces, which PTBTokenizer leaves whole, are split into characters. Java's own output differs for 1
    of 34,074 sentences of Flickr8k and Multi30k: one with "m&amp;h".
    """
    plain = spaced(unescape(caption.lower()).translate(QUOTES))
    return [BRACKETS.get(token, token) for token in TOKEN.findall(plain) if token not in DROPPED]


class CaptionScores(Corpus):
    """BLEU, CIDEr-D, ROUGE-L and METEOR of captions, one for each image, against all references of its image.

    `compute` gives the metrics of PROTOCOLS; nan when there were no images. CIDEr weighs words by their
    document frequency over images, so that it means little on few images: on a single one it is 0.

    Args:
        full: also METEOR, if Java and pycocoevalcap are found; it takes seconds.
    """

    def compute(self) -> dict[str, Tensor]:
        """The scores, scalars in float32."""
        scores, self.statistics = caption_statistics(*self.sentences(), self.full)
        return {name: torch.tensor(value, device=self.device) for name, value in scores.items()}


def caption_scores(captions: Sequence[str], references: Sequence[Sequence[str]], full: bool = True) -> dict[str, float]:
    """Metrics of `CaptionScores` for N captions and the references of their N images, at least one each."""
    return caption_statistics(captions, references, full)[0]


def caption_statistics(
    captions: Sequence[str], references: Sequence[Sequence[str]], full: bool = True
) -> tuple[dict[str, float], list[Statistic]]:
    """Metrics of `CaptionScores`, and the counts of each of N images from which all but METEOR follow."""
    java = full and meteor.found()
    if not captions:
        return {name: math.nan for name in PROTOCOLS if java or name != "meteor"}, []
    said, true = list(map(tokens, captions)), [list(map(tokens, several)) for several in references]
    each = {
        "rouge_l": np.array(list(map(rouge_l, said, true))),
        "exact_match": np.array([one in several for one, several in zip(said, true, strict=True)]),
    }
    scores = {
        **{f"bleu_{n}": value for n, value in enumerate(bleu(said, true), 1)},
        "cider": float(cider(said, true).mean()),
        **{name: float(column.mean()) for name, column in each.items()},
    }
    statistics = [*of_captions(said, true, grams), *means(each)] if full else []
    return scores | ({"meteor": meteor.meteor(said, true)[0]} if java else {}), statistics


def bleu(captions: Sequence[Words], references: Sequence[Sequence[Words]], orders: int = 4) -> list[float]:
    """Corpus BLEU of orders 1 to `orders`, 0..1 (Papineni et al. 2002).

    The length compared with is that of the reference closest in length, the shorter of two.
    """
    right, made, said, true = np.zeros(orders), np.zeros(orders), 0, 0
    for words, several in zip(captions, references, strict=True):
        said += len(words)
        true += min((abs(len(reference) - len(words)), len(reference)) for reference in several)[1]
        most: Grams = Counter()
        for reference in several:
            most |= grams(reference, orders)
        for gram, count in (grams(words, orders) & most).items():
            right[len(gram) - 1] += count
        made += [max(0, len(words) - n) for n in range(orders)]
    # pycocoevalcap's small numbers, so that nothing is divided by zero
    precisions = np.cumprod((right + 1e-15) / (made + 1e-9)) ** (1 / np.arange(1, orders + 1))
    ratio = (said + 1e-15) / (true + 1e-9)
    return (precisions * math.exp(min(0.0, 1 - 1 / ratio))).tolist()


class Frequencies(NamedTuple):
    """Document frequencies of n-grams over the references of a number of images: the weights of CIDEr."""

    images: int
    counts: Grams

    @classmethod
    def of(cls, references: Iterable[Sequence[Words]]) -> "Frequencies":
        """Count the n-grams of the references of images."""
        counts = [{gram for reference in several for gram in grams(reference)} for several in references]
        return cls(len(counts), Counter(chain.from_iterable(counts)))


def cider(
    captions: Sequence[Words], references: Sequence[Sequence[Words]], frequencies: Frequencies | None = None
) -> np.ndarray:
    """CIDEr-D of each caption, 0..10 (Vedantam et al. 2015).

    Cosines of clipped n-gram counts, weighed by inverse document frequency, under a Gaussian penalty (sigma 6) for
    other lengths.

    Args:
        captions: N captions.
        references: those of their N images, at least one each.
        frequencies: of n-grams, from another set, such as the training set; None counts these references.

    Returns:
        float64 (N,).
    """
    frequencies = frequencies or Frequencies.of(references)
    scores = np.zeros(len(captions))
    for i, (words, several) in enumerate(zip(captions, references, strict=True)):
        said = _Vector.of(words, frequencies)
        scores[i] = 10 * sum(said.likeness(_Vector.of(reference, frequencies)) for reference in several) / len(several)
    return scores


class _Vector(NamedTuple):
    """The n-grams of a sentence: weights of each order, their norms, and the number of pairs of words."""

    weights: list[dict[tuple[str, ...], float]]
    norms: list[float]
    pairs: int

    @classmethod
    def of(cls, words: Words, frequencies: Frequencies) -> "_Vector":
        known, every = frequencies.counts, math.log(frequencies.images)
        weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(4)]
        for gram, count in grams(words).items():
            weights[len(gram) - 1][gram] = count * (every - math.log(max(1, known[gram])))
        norms = [math.sqrt(sum(weight * weight for weight in order.values())) for order in weights]
        return cls(weights, norms, max(0, len(words) - 1))

    def likeness(self, reference: "_Vector") -> float:
        """Clipped cosine similarity to a reference, with length penalty, mean over the orders, 0..1."""
        total = 0.0
        for said, true, norm, other in zip(self.weights, reference.weights, self.norms, reference.norms, strict=True):
            if norm and other:
                dot = sum(min(weight, true[gram]) * true[gram] for gram, weight in said.items() if gram in true)
                total += dot / (norm * other)
        return total / 4 * math.exp(-((self.pairs - reference.pairs) ** 2) / 72)


def rouge_l(words: Words, references: Sequence[Words], beta: float = 1.2) -> float:
    """ROUGE-L of one caption, 0..1 (Lin 2004).

    F of precision and recall of the longest common subsequence, each the best of all references; 0 for an empty
    caption.
    """
    common = [longest_common(words, reference) for reference in references]
    if not any(common):
        return 0.0
    precision = max(common) / len(words)
    recall = max(length / len(reference) for length, reference in zip(common, references, strict=True) if reference)
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


def longest_common(one: Words, other: Words) -> int:
    """Length of the longest common subsequence, with one bit per word of `one` (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for i, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << i
    row = every = (1 << len(one)) - 1
    for word in other:
        hit = row & places.get(word, 0)
        row = (row + hit | row - hit) & every
    return len(one) - row.bit_count()


def grams(words: Words, orders: int = 4) -> Grams:
    """N-grams of 1 to `orders` words."""
    return Counter(tuple(words[i : i + n]) for n in range(1, orders + 1) for i in range(len(words) - n + 1))
