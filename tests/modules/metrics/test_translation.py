import gzip
import math

import pytest
import torch
from sacrebleu import corpus_bleu, corpus_chrf, corpus_ter
from torchmetrics.functional.text import bleu_score
from torchmetrics.functional.text import perplexity as reference_perplexity

from modules.metrics.translation import (
    PROTOCOLS,
    Perplexity,
    TranslationScores,
    protocols,
    sentence_bleu,
    textbook_bleu,
    translation_scores,
    words,
)
from tests.helpers.errors import assert_named
from tests.helpers.forks import in_group

HYPOTHESES = [
    "The red circle is left of the small blue square.",
    "Zwei Hunde laufen über die Wiese .",
    "",
    "A man, who wears a hat, sits on a bench in the park.",
    "It costs 5.50 € — or 1,000 more!",
    "a dog",
    "He's reading a book; she isn't.",
]
REFERENCES = [
    "The red circle is to the left of the small blue square.",
    "Zwei Hunde rennen über eine grüne Wiese.",
    "A lost sentence is here.",
    "A man wearing a Hat is sitting on a park bench.",
    "It costs 5.50 €, or 1,000 more.",
    "a dog",
    "He is reading a book, but she is not reading at all.",
]


def test_metrics_are_sacrebleus():
    metrics = translation_scores(HYPOTHESES, REFERENCES)
    assert metrics["bleu"] == corpus_bleu(HYPOTHESES, [REFERENCES]).score > 10
    assert metrics["chrf"] == corpus_chrf(HYPOTHESES, [REFERENCES]).score
    assert metrics["ter"] == corpus_ter(HYPOTHESES, [REFERENCES]).score


@pytest.mark.parametrize("tokenize", ["13a", "intl", "zh", "char", "none"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_settings_are_sacrebleus(tokenize, lowercase):
    metrics = translation_scores(HYPOTHESES, REFERENCES, tokenize, lowercase, full=False)
    assert metrics["bleu"] == corpus_bleu(HYPOTHESES, [REFERENCES], tokenize=tokenize, lowercase=lowercase).score
    assert metrics.keys() == PROTOCOLS.keys() - {"chrf", "ter", "perplexity"}
    signature = f"nrefs:1|case:{'lc' if lowercase else 'mixed'}|eff:no|tok:{tokenize}|smooth:exp|version:"
    assert signature in protocols(tokenize, lowercase)["bleu"]


def test_scripts_without_spaces_are_split_in_every_metric_of_words():
    said, true = ["我喜欢红色的圆。", "两颗蓝色的星星"], ["我喜欢红色的圆。", "两颗蓝色星星在这里"]
    plain, split = (translation_scores(said, true, tokenize) for tokenize in ("13a", "zh"))
    assert split["bleu"] == corpus_bleu(said, [true], tokenize="zh").score > plain["bleu"]
    assert split["bleu_tokenized"] == pytest.approx(
        corpus_bleu(said, [true], tokenize="zh", smooth_method="none").score
    )
    assert split["bleu_textbook"] > plain["bleu_textbook"]
    assert split["ter"] == corpus_ter(said, [true], normalized=True, asian_support=True).score < plain["ter"]
    assert split["chrf"] == plain["chrf"]
    sentences = sentence_bleu(said, true, "zh")
    assert sentences[0] == pytest.approx(100) and sentences[1] > sentence_bleu(said, true)[1]
    assert_named(protocols("zh")["bleu_textbook"], "zh")
    assert_named(protocols("zh")["bleu"], "tok:zh")


def test_every_metric_has_a_protocol_and_sacrebleus_have_their_signatures():
    said = protocols()
    assert said.keys() == translation_scores(HYPOTHESES, REFERENCES).keys() | {"perplexity"}
    assert {name for name, text in said.items() if "sacreBLEU nrefs:1|" in text} == {"bleu", "chrf", "ter"}


@pytest.mark.parametrize(("orders", "expected"), [(1, 0.7323), (2, 0.6815), (3, 0.5940), (4, 0)])
def test_the_textbooks_example(orders, expected):
    assert textbook_bleu("abbcd", "abcdef", orders) == pytest.approx(expected, abs=5e-5)


def test_the_textbooks_formula_at_its_ends():
    assert textbook_bleu("ab", "ab") == 1  # without the orders that it cannot have
    assert textbook_bleu("", "ab") == 0
    assert textbook_bleu("abcd", "ab", 1) == pytest.approx(0.5**0.5)  # longer ones pay by their precision alone
    assert textbook_bleu("a", "abcd") == pytest.approx(math.exp(-3))


def test_tokenized_bleu_is_torchmetrics_of_words_in_lower_case():
    said, true = HYPOTHESES[:2] + HYPOTHESES[3:], REFERENCES[:2] + REFERENCES[3:]
    joined = [[" ".join(words(text)) for text in column] for column in (said, true)]
    expected = 100 * float(bleu_score(joined[0], [[text] for text in joined[1]]))
    assert translation_scores(said, true, full=False)["bleu_tokenized"] == pytest.approx(expected)


def test_words_are_split_from_punctuation():
    assert words("He's Grün, 5.50€!") == ["he", "'", "s", "grün", ",", "5", ".", "50", "€", "!"]


def test_blanks_do_not_make_a_sentence_differ_but_case_and_marks_do():
    said, true = ["a  dog ", "a dog", "a dog"], ["a dog", "A dog", "a dog."]
    assert translation_scores(said, true, full=False)["exact_match"] == pytest.approx(1 / 3)


def test_copies_of_the_references_score_best():
    metrics = translation_scores(REFERENCES, REFERENCES)
    best = {"bleu": 100, "chrf": 100, "ter": 0, "bleu_tokenized": 100, "bleu_textbook": 1, "exact_match": 1}
    assert metrics == pytest.approx(best)


def test_nothing_said_scores_nothing():
    metrics = translation_scores(["", ""], ["a dog", "two dogs"])
    assert metrics == {"bleu": 0, "chrf": 0, "ter": 100, "bleu_tokenized": 0, "bleu_textbook": 0, "exact_match": 0}


def test_single_sentences_are_sorted_by_their_own_bleu():
    scores = sentence_bleu(HYPOTHESES, REFERENCES)
    assert scores[5] == pytest.approx(100)  # of two words only
    assert scores[2] == min(scores) == 0
    assert all(0 <= score <= 100 for score in map(round, scores))


def test_no_sentence_has_no_metrics():
    assert all(value.isnan() for value in TranslationScores().compute().values())
    assert TranslationScores().compute().keys() == PROTOCOLS.keys() - {"perplexity"}


def test_the_metric_adds_up_batches_forgets_on_reset_and_refuses_what_does_not_fit():
    scores = TranslationScores()
    for _ in range(2):
        for part in (slice(0, 3), slice(3, 3), slice(3, None)):
            scores.update(HYPOTHESES[part], REFERENCES[part])
        expected = translation_scores(HYPOTHESES, REFERENCES)
        assert {name: float(value) for name, value in scores.compute().items()} == pytest.approx(expected)
        scores.reset()
    with pytest.raises(ValueError):
        scores.update(["a", "b"], ["a"])


def test_real_sentences_score_as_sacrebleu_says(data_root):
    """The next sentence as the translation of each: raw text with all that occurs in it."""
    path = data_root / "multi30k_en_de" / "test_2016_flickr.de.gz"
    if not path.exists():
        pytest.skip(f"no Multi30k in {data_root}")
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()[:300]
    said = lines[1:] + lines[:1]
    metrics = translation_scores(said, lines)
    assert metrics["bleu"] == corpus_bleu(said, [lines]).score > 0
    assert metrics["chrf"] == corpus_chrf(said, [lines]).score
    assert metrics["ter"] == corpus_ter(said, [lines]).score


def test_perplexity_is_torchmetrics_and_padding_never_counts():
    logits, target = torch.randn(4, 9, 11), torch.randint(1, 11, (4, 9))
    target[:, 6:] = 0
    metric = Perplexity()
    for part in (slice(0, 1), slice(1, 4)):  # of unequal numbers of tokens
        metric.update(logits[part], target[part])
    assert float(metric.compute()) == pytest.approx(float(reference_perplexity(logits, target, ignore_index=0)))
    longer = Perplexity()
    longer.update(torch.cat([logits, 50 * torch.randn(4, 3, 11)], 1), torch.nn.functional.pad(target, (0, 3)))
    assert float(longer.compute()) == pytest.approx(float(metric.compute()))


def test_perplexity_of_guessing_is_the_size_of_the_vocabulary():
    metric = Perplexity()
    assert metric.compute().isnan()
    metric.update(torch.zeros(2, 3, 11), torch.ones(2, 3, dtype=torch.int64))
    assert float(metric.compute()) == pytest.approx(11)


def test_perplexity_stays_finite_where_a_probability_is_rounded_to_zero():
    logits, target = torch.tensor([[[0.0, 0.0, 120.0], [0.0, 120.0, 0.0]]]), torch.tensor([[1, 1]])
    assert reference_perplexity(logits, target, ignore_index=0).isinf()
    metric = Perplexity()
    metric.update(logits.bfloat16(), target)
    assert float(metric.compute()) == pytest.approx(math.exp(60), rel=1e-5)


def half(rank: int) -> dict[str, float]:
    scores, perplexity = TranslationScores(), Perplexity()
    for i in range(rank, len(HYPOTHESES), 2):  # four and three
        scores.update(HYPOTHESES[i : i + 1], REFERENCES[i : i + 1])
    perplexity.update(*tokens_of(slice(rank, None, 2)))
    metrics = {name: float(value) for name, value in scores.compute().items()}
    return metrics | {"perplexity": float(perplexity.compute())}


def tokens_of(mine: slice) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 7, 9, generator=generator)
    return logits[mine], torch.randint(0, 9, (5, 7), generator=generator)[mine]


@pytest.mark.integration
def test_two_processes_have_the_metrics_of_one(tmp_path):
    perplexity = float(reference_perplexity(*tokens_of(slice(None)), ignore_index=0))
    expected = translation_scores(HYPOTHESES, REFERENCES) | {"perplexity": perplexity}
    for found in in_group(half, tmp_path):
        assert found == pytest.approx(expected)
