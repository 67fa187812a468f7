"""Sentences that read alike across splits: all pairs of comparing all, in any writing, and nothing within a split."""

import re

import numpy as np
import pytest

from datamodules.text.near_sentences import SIMILAR, near_sentences

WORDS = "a red dog runs over the old bridge near our house while two small cats sleep under green trees".split()


def sentences(count: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(3, 14))) for _ in range(count)]


def shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))}


def test_the_pairs_are_those_of_comparing_all():
    originals = sentences(300)
    changed = [" ".join(text.split()[:-1]) for text in originals[:150]]
    texts, splits = originals + changed, np.repeat([0, 1], [300, 150])
    sets = [shingles(text) for text in texts]
    kept = {}  # the first of equal ones in each split
    for i, found in enumerate(sets):
        kept.setdefault((splits[i], frozenset(found)), i)
    wanted = {
        (i, j): len(sets[i] & sets[j]) / len(sets[i] | sets[j])
        for i in kept.values()
        for j in kept.values()
        if splits[i] < splits[j] and len(sets[i] & sets[j]) >= SIMILAR * len(sets[i] | sets[j])
    }
    found = near_sentences([texts], splits)
    assert len(wanted) > 100
    assert {(i, j): similarity for i, j, similarity in found} == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Ein Hund läuft über die Straße.", "EIN HUND LÄUFT, ÜBER DIE STRASSE!"),
        ("Ein Hund läuft über die Straße.", "Ein Hund la\u0308uft über die Straße ..."),
        ("我喜欢在公园里散步。", "我喜欢在公园里散步"),
        ("Hello!", "hello"),
    ],
)
def test_case_punctuation_and_unicode_form_do_not_count(one, two):
    assert near_sentences([[one, two]], np.array([0, 1])) == [(0, 1, 1.0)]


def test_both_sides_count_and_pairs_of_one_split_do_not():
    source, target = ["a man is singing into a microphone"] * 2, sentences(2)
    assert near_sentences([source, source], np.array([0, 1])) == [(0, 1, 1.0)]
    assert near_sentences([source, target], np.array([0, 1])) == []
    assert near_sentences([source], np.array([1, 1])) == []


@pytest.mark.parametrize("texts", [[], ["one"], ["?!", "...", ""]])
def test_without_words_there_are_no_pairs(texts):
    assert near_sentences([texts], np.arange(len(texts))) == []


def test_many_equal_sentences_and_templates_stay_fast():
    texts = ["the same line again and again"] * 5000 + [f"on day {i} it was warm and dry here" for i in range(5000)]
    found = near_sentences([texts], np.arange(10_000) % 2)
    assert (0, 1, 1.0) in found and len(found) < 5000 * 101
