"""Metrics of translation: sacreBLEU's, the textbook's, and perplexity."""

import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics import Metric

from modules.metrics.bootstrap import Statistic, Sums
from modules.metrics.bootstrap.records import means
from modules.metrics.scripts import Tokenize, check_tokenizer
from modules.metrics.sentence_metric import Corpus

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as SacreMetric

SPLIT = ("zh", "ja-mecab", "ko-mecab", "char")
"""Tokenizers for scripts that do not separate words by spaces."""

WORDS = "words and punctuation marks"

PROTOCOLS = {
    "bleu": "corpus BLEU of raw text, 0..100",
    "chrf": "corpus chrF, F2 of character 6-grams, 0..100",
    "ter": "corpus TER, edits per 100 words of the reference, case ignored; lower is better",
    "bleu_tokenized": "corpus BLEU of words and punctuation marks in lower case, unsmoothed (multi-bleu.perl), 0..100",
    "bleu_textbook": "mean over sentences of exp(min(0, 1 - len(label)/len(prediction))) * prod p_n^(1/2^n), n to 4; "
    "words and punctuation marks in lower case, 0..1",
    "exact_match": "share of sentences equal to their reference but for blanks",
    "perplexity": "exp of the mean cross-entropy per target token, end of sentence included, padding left out",
}
"""Protocol of each metric, in words; `protocols` adds sacreBLEU's signatures."""


def protocols(tokenize: Tokenize = "13a", lowercase: bool = False) -> dict[str, str]:
    """PROTOCOLS, with the signatures that make sacreBLEU's scores comparable (Post 2018).

    Raises:
        ConfigError: packages that the tokenizer needs are missing.
    """
    check_tokenizer(tokenize)
    said = dict(PROTOCOLS)
    if tokenize in SPLIT:
        for name in ("bleu_tokenized", "bleu_textbook"):
            said[name] = said[name].replace(WORDS, f"sacreBLEU's {tokenize} tokens")
        said["ter"] = said["ter"].replace("words of the reference", "words, or characters of scripts without spaces")
    for name, metric in _sacre(tokenize, lowercase).items():
        metric.corpus_score(["a"], [["a"]])  # a signature holds the number of references
        said[name] += f"; sacreBLEU {metric.get_signature()}"
    return said


class TranslationScores(Corpus):
    """Scores of translations, each against one reference.

    `compute` gives `bleu`, `bleu_tokenized`, `bleu_textbook`, `exact_match` and, if asked, `chrf` and `ter`, as
    PROTOCOLS says; nan when there were no sentences.

    Args:
        tokenize: sacreBLEU's tokenizer; those for scripts without spaces hold for the other BLEU metrics too.
        lowercase: sacreBLEU ignores case. TER always does, chrF never.
        full: also chrF and TER.
    """

    def __init__(self, tokenize: Tokenize = "13a", lowercase: bool = False, full: bool = True):
        super().__init__(full)
        self.tokenize, self.lowercase = tokenize, lowercase

    def compute(self) -> dict[str, Tensor]:
        """The scores, scalars in float32."""
        said, true = self.sentences()
        scores, self.statistics = translation_statistics(said, true, self.tokenize, self.lowercase, self.full)
        return {name: torch.tensor(value, device=self.device) for name, value in scores.items()}


def translation_scores(
    hypotheses: Sequence[str],
    references: Sequence[str],
    tokenize: Tokenize = "13a",
    lowercase: bool = False,
    full: bool = True,
) -> dict[str, float]:
    """Metrics of `TranslationScores` for N sentences and their N references."""
    return translation_statistics(hypotheses, references, tokenize, lowercase, full)[0]


def translation_statistics(
    hypotheses: Sequence[str],
    references: Sequence[str],
    tokenize: Tokenize = "13a",
    lowercase: bool = False,
    full: bool = True,
) -> tuple[dict[str, float], list[Statistic]]:
    """Metrics of `TranslationScores`, and the counts of each of N sentences from which they follow."""
    from sacrebleu.metrics import BLEU

    metrics, split = _sacre(tokenize, lowercase), _splitter(tokenize)
    chosen = metrics if full else {"bleu": metrics["bleu"]}
    if not hypotheses:
        return dict.fromkeys([*chosen, "bleu_tokenized", "bleu_textbook", "exact_match"], math.nan), []
    pairs = [(split(said), split(true)) for said, true in zip(hypotheses, references, strict=True)]
    tokens = [[" ".join(sentence) for sentence in sentences] for sentences in zip(*pairs, strict=True)]
    chosen["bleu_tokenized"] = BLEU(tokenize="none", smooth_method="none", force=True)
    scores, statistics = {}, []
    for name, metric in chosen.items():
        texts = tokens if name == "bleu_tokenized" else (hypotheses, references)
        counted = np.array(metric._extract_corpus_statistics(texts[0], [texts[1]]))  # its own bootstrap takes these
        scores[name] = metric._compute_score_from_stats(counted.sum(0).tolist()).score
        formula = "means" if name == "ter" else "chrf" if name == "chrf" else "bleu"
        statistics.append(Sums(formula, [name], counted * (100, 1) if name == "ter" else counted))
    each = {
        "bleu_textbook": np.array([textbook_bleu(*pair) for pair in pairs]),
        "exact_match": np.array([a.split() == b.split() for a, b in zip(hypotheses, references, strict=True)]),
    }
    return scores | {name: float(column.mean()) for name, column in each.items()}, [*statistics, *means(each)]


def words(text: str) -> list[str]:
    """Words and punctuation marks of a text in lower case."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def textbook_bleu(prediction: Sequence[Hashable], label: Sequence[Hashable], orders: int = 4) -> float:
    """BLEU of one sentence as in "Dive into Deep Learning", section 10.7.

    Exp(min(0, 1 - len(label)/len(prediction))) times the product of p_n^(1/2^n), n up to `orders`; 0..1.

    p_n is the share of the prediction's n-grams that the label has, each as often as there. Orders longer than the
    prediction are left out; an empty prediction scores 0.
    """
    if not prediction:
        return 0.0
    score = math.exp(min(0.0, 1 - len(label) / len(prediction)))
    for n in range(1, min(orders, len(prediction)) + 1):
        said, true = (Counter(zip(*(text[i:] for i in range(n)), strict=False)) for text in (prediction, label))
        score *= ((said & true).total() / said.total()) ** (0.5**n)
    return score


def corpus_bleu(
    hypotheses: Sequence[str], references: Sequence[str], tokenize: Tokenize = "13a", lowercase: bool = False
) -> float:
    """sacreBLEU of N sentences against N references, 0..100."""
    return _sacre(tokenize, lowercase)["bleu"].corpus_score(hypotheses, [references]).score


def sentence_bleu(
    hypotheses: Sequence[str], references: Sequence[str], tokenize: Tokenize = "13a", lowercase: bool = False
) -> list[float]:
    """sacreBLEU of each sentence alone, 0..100, smoothed, of the orders that it has: for sorting, not for reporting."""
    from sacrebleu.metrics import BLEU

    metric = BLEU(tokenize=tokenize, lowercase=lowercase, effective_order=True)
    return [metric.sentence_score(said, [true]).score for said, true in zip(hypotheses, references, strict=True)]


class Perplexity(Metric):
    """exp of the mean cross-entropy per token over a whole set, from 1; nan when there was no token.

    In logarithms all the way, where torchmetrics' takes those of rounded probabilities, of which some are 0.

    Args:
        padding: the target id that does not count.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False
    entropy: Tensor
    tokens: Tensor

    def __init__(self, padding: int = 0):
        super().__init__()
        self.padding = padding
        self.add_state("entropy", torch.tensor(0.0, dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("tokens", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Takes a batch: logits (B, T, V), and the ids that were to come, int64 (B, T)."""
        logits = logits.detach().flatten(0, 1).float()
        self.entropy += cross_entropy(logits, target.flatten(), ignore_index=self.padding, reduction="sum")
        self.tokens += (target != self.padding).sum()

    def compute(self) -> Tensor:
        """A scalar in float32."""
        return (self.entropy / self.tokens).exp()


def token_entropy(logits: Tensor, target: Tensor, padding: int = 0) -> Tensor:
    """Sum of the cross-entropy and number of tokens of each text, float32 (B, 2), as `Perplexity` takes them."""
    entropy = cross_entropy(logits.flatten(0, 1).float(), target.flatten(), ignore_index=padding, reduction="none")
    return torch.stack([entropy.view(target.shape).sum(1), (target != padding).sum(1)], 1)


def _sacre(tokenize: Tokenize, lowercase: bool) -> "dict[str, SacreMetric]":
    from sacrebleu.metrics import BLEU, CHRF, TER  # a second to import

    asian = tokenize in SPLIT  # which TER splits into characters
    return {
        "bleu": BLEU(tokenize=tokenize, lowercase=lowercase),
        "chrf": CHRF(),
        "ter": TER(normalized=asian, asian_support=asian),
    }


def _splitter(tokenize: Tokenize) -> Callable[[str], list[str]]:
    """`words`, or sacreBLEU's tokenizer for a script without spaces, in lower case."""
    if tokenize not in SPLIT:
        return words
    split = _sacre(tokenize, lowercase=True)["bleu"].tokenizer
    return lambda text: split(text.lower()).split()
