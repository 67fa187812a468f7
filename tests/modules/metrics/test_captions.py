import csv
import math
import random
from itertools import groupby

import pytest

from modules.metrics import captions as module
from modules.metrics import meteor
from modules.metrics.captions import (
    PROTOCOLS,
    CaptionScores,
    Frequencies,
    bleu,
    caption_scores,
    cider,
    longest_common,
    rouge_l,
    tokens,
)
from tests.helpers.forks import in_group

WORDS = "a the red blue small large circle square dog left of above and with two it".split()

# Scores by pycocoevalcap 1.2 (Bleu, Cider, Rouge; numpy 2.4) of `sentences(seed, images)`; of seed 3 the fifth
# caption is empty: BLEU-1 to 4, CIDEr-D, ROUGE-L, and CIDEr-D of the first images.
PYCOCOEVALCAP = [
    (
        (0, 40),
        [0.7360534731724496, 0.6596800168638468, 0.5930122834287246, 0.5420153669982682],
        2.7443324931522732,
        0.6242597115013524,
        [3.5775573711071424, 5.897590233586007, 2.2825624560631406],
    ),
    (
        (1, 7),
        [0.864279767887047, 0.8162593386302913, 0.7889992392681827, 0.7581112077752737],
        4.819599634295282,
        0.7781025453659725,
        [0.0, 5.206962133618963, 7.043767477210433],
    ),
    (
        (2, 1),
        [0.9999999998571432, 0.8320502942166937, 0.7021389310605679, 0.6298129991436442],
        0.0,
        0.8571428571428571,
        [0.0],
    ),
    (
        (3, 20),
        [0.6859354295215616, 0.6256153478721743, 0.5693091522228697, 0.5116079745569235],
        3.0357524311131407,
        0.6185908207593354,
        [0.2912889300120818, 0.8054322966169636, 10.0],
    ),
]

# Its scores, behind its PTBTokenizer (Java), of Flickr8k's first captions against the other four of their images.
REAL = {
    "bleu_1": 0.6394140691533572,
    "bleu_2": 0.4477850570363135,
    "bleu_3": 0.30815112503480485,
    "bleu_4": 0.20456589909563988,
    "cider": 0.7791542616885118,
    "rouge_l": 0.4908010173762078,
    "meteor": 0.24602733487914816,
}

# Tokens by Stanford's PTBTokenizer 3.4.1 through pycocoevalcap's ptbtokenizer.
PTB = {
    "Don't you think the dog's toys can't be the dogs' own?": "do n't you think the dog 's toys ca n't be the dogs own",
    "I cannot do it; gonna go, wanna see, gimme that, gotta run.": "i can not do it gon na go wan na see gim me that "
    "got ta run",
    "He said \"hello there\" and 'left'.": "he said hello there and left",
    "A red/green sign (left) [right] costs $5.99 or 50% off #1": "a red/green sign -lrb- left -rrb- -lsb- right -rsb- "
    "costs $ 5.99 or 50 % off # 1",
    "It's 3:45 p.m., Mr. Smith, U.S. Army, went to the U.K. .": "it 's 3:45 p.m. mr. smith u.s. army went to the u.k.",
    "a t-shirt -- black-and-white - well-known": "a t-shirt black-and-white well-known",
    "she'll we've I'm you're he'd o'clock rock 'n' roll": "she 'll we 've i 'm you 're he 'd o'clock rock 'n' roll",
    "café naïve straße “quoted” ‘single’ …": "café naïve straße quoted single",
    "What?! Really!!! ... no,no. end.": "what ?! really !!! no no end",
    "C++ AT&T R&B M&M's &amp; tile": "c++ at&t r&b m&m 's & tile",
    "two 1/2 cups 1,000 people '90s 3rd-place 5'10\" tall": "two 1/2 cups 1,000 people '90s 3rd-place 5 10 tall",
    "e-mail bob@example.com or http://www.example.com/a?b=c .": "e-mail bob@example.com or http://www.example.com/a?b=c",
    "hors d'oeuvres in John A. Noble hall, hook 'em": "hors d'oeuvres in john a. noble hall hook 'em",
    "  spaces   many  ": "spaces many",
    "": "",
}


def sentences(seed: int, images: int) -> tuple[list[str], list[list[str]]]:
    """Captions, and up to five references of each image that resemble them and each other."""
    draw = random.Random(seed)

    def sentence(base: str | None = None) -> str:
        words = base.split() if base else draw.choices(WORDS, range(16, 0, -1), k=draw.randint(1, 14))
        if base:
            for _ in range(draw.randint(0, 4)):
                words[draw.randrange(len(words))] = draw.choice(WORDS)
            words = words[: draw.randint(1, len(words))] if draw.random() < 0.3 else words
        return " ".join(words)

    said, true = [], []
    for _ in range(images):
        first = sentence()
        true.append([first] + [sentence(first) for _ in range(draw.randint(0, 4))])
        said.append(sentence(first))
    return said, true


def split(said, true):
    return [one.split() for one in said], [[one.split() for one in several] for several in true]


@pytest.mark.parametrize(("case", "bleus", "ciders", "rouge", "first"), PYCOCOEVALCAP)
def test_metrics_are_those_of_pycocoevalcap(case, bleus, ciders, rouge, first):
    said, true = sentences(*case)
    if case[0] == 3:
        said[4] = ""
    metrics = caption_scores(said, true, full=False)
    assert [metrics[f"bleu_{n}"] for n in range(1, 5)] == pytest.approx(bleus, abs=1e-9)
    assert metrics["cider"] == pytest.approx(ciders, abs=1e-9)
    assert metrics["rouge_l"] == pytest.approx(rouge, abs=1e-9)
    assert cider(*split(said, true))[:3] == pytest.approx(first, abs=1e-9)


@pytest.mark.parametrize(("caption", "expected"), PTB.items())
def test_tokens_are_those_of_stanfords_tokenizer(caption, expected):
    assert " ".join(tokens(caption)) == expected


def test_a_caption_that_is_a_reference_scores_best():
    _, true = sentences(5, 30)
    said = [several[-1] for several in true]
    metrics = caption_scores(said, true, full=False)
    assert metrics["exact_match"] == 1
    assert metrics["rouge_l"] == pytest.approx(1)
    assert [metrics[f"bleu_{n}"] for n in range(1, 5)] == pytest.approx([1] * 4)
    alone = cider(*split(said, [[one] for one in said]))
    long = [len(one.split()) >= 4 for one in said]
    assert alone[long] == pytest.approx(10)  # the same words as its only reference, of all four orders


def test_case_and_punctuation_do_not_count():
    assert caption_scores(["A dog, running!"], [["a dog running ."]])["exact_match"] == 1


def test_a_long_or_short_caption_is_penalized_as_the_gaussian_says():
    """The clipped cosine of a doubled sentence's words is known; beside it only the penalty for 4 more pairs."""
    reference, other = "a b c d".split(), "w x y z".split()
    longer = [*reference, *"p q r s".split()]
    score = cider([longer, other], [[reference], [other]])[0]
    known, unknown = math.log(2), math.log(2)  # once in two images; n-grams that no reference has weigh the most
    cosines = [k * known**2 / (known * math.sqrt(k) * unknown * math.sqrt(8 - n)) for n, k in enumerate((4, 3, 2, 1))]
    assert score == pytest.approx(10 * sum(cosines) / 4 * math.exp(-16 / 72))


def test_cider_of_a_batch_takes_the_frequencies_of_a_larger_set():
    said, true = split(*sentences(6, 50))
    frequencies = Frequencies.of(true)
    assert frequencies.images == 50
    assert cider(said[:4], true[:4], frequencies).tolist() == cider(said, true)[:4].tolist()


def test_longest_common_subsequence_is_that_of_dynamic_programming():
    def table(one, other):
        rows = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
        for i, a in enumerate(one):
            for j, b in enumerate(other):
                rows[i + 1][j + 1] = rows[i][j] + 1 if a == b else max(rows[i][j + 1], rows[i + 1][j])
        return rows[-1][-1]

    draw = random.Random(0)
    for _ in range(200):
        one, other = (draw.choices("abcd", k=draw.randint(0, 80)) for _ in range(2))
        assert longest_common(one, other) == table(one, other)


def test_nothing_said_scores_nothing():
    metrics = caption_scores(["", ""], [["a dog", "it"], ["two dogs"]], full=False)
    assert set(metrics.values()) == {0.0}
    assert rouge_l([], [[]]) == 0


def test_no_image_has_no_metrics():
    scores = CaptionScores(full=False)
    assert all(value.isnan() for value in scores.compute().values())
    assert scores.compute().keys() == PROTOCOLS.keys() - {"meteor"}


def test_bleu_of_more_images_is_not_the_mean_of_each():
    said, true = split(*sentences(0, 40))
    each = [bleu([one], [several])[3] for one, several in zip(said, true, strict=True)]
    assert abs(sum(each) / 40 - bleu(said, true)[3]) > 0.01


def test_the_metric_adds_up_batches_forgets_on_reset_and_refuses_what_does_not_fit():
    said, true = sentences(0, 40)
    scores = CaptionScores(full=False)
    for _ in range(2):
        for part in (slice(0, 7), slice(7, 7), slice(7, 40)):
            scores.update(said[part], true[part])
        assert {name: float(value) for name, value in scores.compute().items()} == pytest.approx(
            caption_scores(said, true, full=False), abs=1e-6
        )
        scores.reset()
    with pytest.raises(ValueError):
        scores.update(["a", "b"], [["a"]])


def everything(images: int, mine: slice) -> dict:
    said, true = (column[mine] for column in sentences(0, images))
    scores = CaptionScores(full=False)
    for one, references in zip(said, true, strict=True):  # devices take batches in turn
        scores.update([one], [references])
    metrics = {name: float(value) for name, value in scores.compute().items()}
    scores.sync()
    order = scores.sentences()[0]
    scores.unsync()
    return {"metrics": metrics, "order": order, "left": len(scores.sentences()[0])}


@pytest.mark.integration
def test_two_processes_have_the_metrics_of_one(tmp_path):
    """Cases: eleven images; a single one, where the second process has nothing; and none."""
    counts = (11, 1, 0)
    both = in_group(lambda rank: [everything(images, slice(rank, None, 2)) for images in counts], tmp_path)
    for rank in (0, 1):
        for images, two in zip(counts, both[rank], strict=True):
            said, true = sentences(0, images)
            assert two["metrics"] == pytest.approx(caption_scores(said, true, full=False), abs=1e-6, nan_ok=True)
            assert two["order"] == said
            assert two["left"] == len(range(rank, images, 2))  # its own, when the others' have gone again


def test_real_captions_score_as_pycocoevalcap_says(data_root):
    path = data_root / "flickr8k_subset" / "captions.txt"
    if not path.exists():
        pytest.skip(f"no captions in {data_root}")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    captions = [[row["caption"] for row in several] for _, several in groupby(rows, lambda row: row["image"])]
    metrics = caption_scores([first for first, *_ in captions], [rest for _, *rest in captions])
    assert metrics.keys() - {"exact_match"} == REAL.keys() - (set() if meteor.found() else {"meteor"})
    for name in metrics.keys() & REAL.keys():
        assert metrics[name] == pytest.approx(REAL[name], abs=1e-9), name


def test_without_java_meteor_is_left_out(monkeypatch):
    monkeypatch.setattr(module.meteor.shutil, "which", lambda _: None)
    assert "meteor" not in caption_scores(["a dog"], [["a dog"]])
