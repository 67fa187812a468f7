"""The built-in sentences: right German, no sentence twice, nothing to copy."""

import re
from itertools import product

import pytest

from datamodules import ShapesSentences
from datamodules.synthetic.language import DEEDS, FARBEN, NOUNS, PLACES, SIZES, Group, Statement, statement
from datamodules.synthetic.world import COLORS, SHAPES, SeededRandom
from datamodules.text.text_statistics import copied

RED, ORANGE, BLUE = 0, 1, 5
CIRCLE, SQUARE, STAR, HEART, CRESCENT = (SHAPES.index(x) for x in ("circle", "square", "star", "heart", "crescent"))

# all by hand
SENTENCES = [
    (
        Statement(Group(1, "small", RED, CIRCLE), "above", Group(2, "", BLUE, SQUARE)),
        "A small red circle lies above two blue squares.",
        "Ein kleiner roter Kreis liegt über zwei blauen Quadraten.",
    ),
    (
        Statement(Group(2, "huge", ORANGE, CRESCENT, known=True), "touched", Group(1, "", RED, STAR), "that"),
        "I see that the two huge orange crescents have touched a red star.",
        "Ich sehe, dass die zwei riesigen orangefarbenen Sicheln einen roten Stern berührt haben.",
    ),
    (
        Statement(Group(1, "", BLUE, CRESCENT), "behind", Group(1, "large", RED, HEART, known=True), "because"),
        "I laugh because a blue crescent lies behind the large red heart.",
        "Ich lache, weil eine blaue Sichel hinter dem großen roten Herzen liegt.",
    ),
    (
        Statement(Group(3, "", RED, STAR), "left of", Group(1, "", BLUE, CRESCENT, known=True), "place first"),
        "Left of the blue crescent there are three red stars.",
        "Links von der blauen Sichel liegen drei rote Sterne.",
    ),
    (
        Statement(Group(1, "", RED, SQUARE), "covered", Group(4, "tiny", BLUE, STAR, known=True), "here"),
        "Here a red square has covered the four tiny blue stars.",
        "Hier hat ein rotes Quadrat die vier winzigen blauen Sterne verdeckt.",
    ),
]


@pytest.mark.parametrize(("said", "english", "german"), SENTENCES)
def test_sentences_are_right(said, english, german):
    assert (said.english(), said.german()) == (english, german)


@pytest.mark.parametrize(
    ("shape", "case", "indefinite", "definite"),
    [
        (CIRCLE, "nominative", "ein roter Kreis", "der rote Kreis"),
        (CIRCLE, "accusative", "einen roten Kreis", "den roten Kreis"),
        (CIRCLE, "dative", "einem roten Kreis", "dem roten Kreis"),
        (SQUARE, "nominative", "ein rotes Quadrat", "das rote Quadrat"),
        (SQUARE, "accusative", "ein rotes Quadrat", "das rote Quadrat"),
        (SQUARE, "dative", "einem roten Quadrat", "dem roten Quadrat"),
        (CRESCENT, "nominative", "eine rote Sichel", "die rote Sichel"),
        (CRESCENT, "accusative", "eine rote Sichel", "die rote Sichel"),
        (CRESCENT, "dative", "einer roten Sichel", "der roten Sichel"),
        (CIRCLE, "nominative", "zwei rote Kreise", "die zwei roten Kreise"),
        (CIRCLE, "accusative", "zwei rote Kreise", "die zwei roten Kreise"),
        (CIRCLE, "dative", "zwei roten Kreisen", "den zwei roten Kreisen"),
    ],
)
def test_genders_numbers_and_cases(shape, case, indefinite, definite):
    count = 2 if indefinite.startswith("zwei") else 1
    assert [Group(count, "", RED, shape, known).german(case) for known in (False, True)] == [indefinite, definite]


def test_every_word_of_the_world_has_its_own_translation():
    assert list(NOUNS) == list(SHAPES)
    assert len(FARBEN) == len(COLORS)
    groups = [Group(*parts) for parts in product((1, 2), SIZES, range(10), range(10), (False, True))]
    assert (
        len({group.english() for group in groups}) == len({group.german("dative") for group in groups}) == len(groups)
    )
    for words in (PLACES, DEEDS):
        assert len(set(words.values())) == len(words)


def test_the_english_decides_the_german():
    said = [statement(SeededRandom(3, i)) for i in range(3000)]
    german = {}
    for each in said:
        assert german.setdefault(each.english(), each.german()) == each.german()


def test_verbs_come_last_after_dass_and_weil_and_second_elsewhere():
    verbs = r"(liegt|liegen|hat|haben)"
    for i in range(500):
        said = statement(SeededRandom(3, i))
        last = bool(re.search(rf" {verbs}\.$", said.german()))
        assert last == (said.frame in ("that", "because"))
        if said.frame == "here":
            assert re.match(f"Hier {verbs} ", said.german())


@pytest.fixture(scope="module")
def shipped() -> ShapesSentences:
    data = ShapesSentences(workers=0)
    data.setup()
    return data


def test_no_sentence_occurs_twice(shipped):
    texts = [text for data in shipped.encoded.values() for text in data.texts("source")]
    assert len(set(texts)) == len(texts) == 5500


def test_training_holds_every_word_that_is_asked_for(shipped):
    assert shipped.notes == []  # none unknown


def test_copying_is_worth_nothing(shipped):
    assert copied(shipped.encoded["test"]) < 15
    assert not {*shipped.encoded["test"].texts("source")} & {*shipped.encoded["test"].texts("target")}


def test_the_test_set_does_not_depend_on_how_many_are_trained_on(shipped):
    few = ShapesSentences(train=100, workers=0)
    few.setup()
    assert few.encoded["test"].texts("target") == shipped.encoded["test"].texts("target")
    assert few.encoded["train"].texts("source") == shipped.encoded["train"].texts("source")[:100]


def test_the_same_on_every_machine(shipped):
    assert [shipped.encoded[split].texts("source")[0] for split in ("train", "val", "test")] == [
        "I see that the huge brown ring lies right of a large green circle.",
        "Left of the huge brown heart there is a blue circle.",
        "Here a blue heart has moved the huge blue circle.",
    ]
