"""Tokenizers: exact round trips, plain strings, and nothing in a text that passes for a special token."""

import os

import pytest

from modules.contracts import ConfigError, DataError
from modules.text.tokenizer import Tokenizer
from modules.text.tokens import BOS, EOS, PAD, SPECIAL, UNK
from tests.helpers.errors import refuses

TEXTS = [
    "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt.",
    "A man in an orange hat, starring at something (twice).",
    "Zwei M\u00e4nner -- \u201ewei\u00df\u201c & gr\u00fcn -- laufen; ##laut __schnell__ <eos>",
    "Two dogs run through the grass: one brown, one white!",
] * 5
KINDS = ("bpe", "wordpiece", "words", "characters")


@pytest.fixture(scope="module", params=KINDS)
def trained(request) -> Tokenizer:
    return Tokenizer.train(TEXTS, request.param, 300)


def test_known_text_survives_the_round_trip(trained):
    assert trained.decode(trained.encode(TEXTS)) == [trained.normalize(text) for text in TEXTS]


@pytest.mark.parametrize("kind", ["bpe", "characters"])
def test_new_words_of_known_characters_survive_too(kind):
    new = ["Eine Hunde grasen ... dort,", "", "a-a (b) ##a"]
    trained = Tokenizer.train(TEXTS, kind, 200)
    assert trained.decode(trained.encode(new)) == new


def test_blanks_and_composed_letters_become_normal(trained):
    assert trained.normalize(" Ma\u0308nner\u00a0 \tin\u2028an  hat ") == "M\u00e4nner in an hat"
    assert trained.encode(["Ein\u00a0Mann "]) == trained.encode(["Ein Mann"])


def test_a_copy_from_its_string_is_the_same(trained):
    copy = Tokenizer.from_json(trained.to_json())
    assert copy == trained
    assert copy.encode([*TEXTS, "<pad> <eos>"]) == trained.encode([*TEXTS, "<pad> <eos>"])
    assert trained != Tokenizer.train(TEXTS[:2], "words", 50)


def test_names_of_special_tokens_are_ordinary_text(trained):
    assert not {PAD, BOS, EOS} & set(trained.encode(["<pad> <bos> <eos> a<eos>"])[0])


def test_special_tokens_come_first_and_are_never_text(trained):
    assert trained.pieces([PAD, BOS, EOS, UNK]) == list(SPECIAL)
    (ids,) = trained.encode(TEXTS[:1])
    assert trained.decode([[BOS, *ids, EOS, *ids, PAD]]) == TEXTS[:1]
    assert trained.decode([[BOS, *ids, PAD, PAD], []]) == [TEXTS[0], ""]


def test_what_the_vocabulary_lacks_is_unknown_and_counted(trained):
    ids = trained.encode(["A man \u65e5"])
    assert trained.unknown(ids) == ids[0].count(UNK) == 1
    assert trained.decode(ids)[0].rstrip() == "A man"


def test_sizes_are_limits():
    assert len(Tokenizer.train(TEXTS, "bpe", 120)) == 120
    assert len(Tokenizer.train(TEXTS, "words", 20)) == 20
    small = Tokenizer.train(["ab ba"], "bpe", 1000)
    assert len(small) < 20
    with refuses(ConfigError, "data.vocab_size", 4):
        Tokenizer.train(TEXTS, "bpe", 4)


def test_words_are_whole_and_the_most_frequent_are_kept():
    trained = Tokenizer.train(["b a", "a, c", "a"], "words", 4 + 2)
    assert trained.pieces(trained.encode(["a b, c"])[0])[0] == "\u2581a"
    assert trained.unknown(trained.encode(["a a"])) == 0


def test_merges_come_in_order_of_frequency():
    """Sennrich et al. 2016, figure 1, with the mark at the front of words: `e s` and `es t` are the first merges."""
    counts = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
    texts = [word for word, count in counts.items() for _ in range(count)]
    trained = Tokenizer.train(texts, "bpe", 4 + 11 + 2)  # ten letters, the mark, two merges
    assert trained.pieces(trained.encode(["widest"])[0]) == ["\u2581", "w", "i", "d", "est"]


@pytest.mark.parametrize("text", ["", "{}", "no tokenizer"])
def test_other_strings_are_refused(text):
    with pytest.raises(DataError):
        Tokenizer.from_json(text)


@pytest.mark.integration
def test_a_forked_process_goes_on(trained, capfd):
    trained.encode(TEXTS * 50)
    child = os.fork()
    if not child:
        os._exit(trained.encode(TEXTS * 50) != trained.encode(TEXTS) * 50)
    assert os.waitpid(child, 0)[1] == 0
    assert "forked" not in capfd.readouterr().err
