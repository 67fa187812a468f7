"""Targets of explanations and their scores."""

import torch

from modules.contracts import ConfigError
from modules.insight.targets import (
    Box,
    Region,
    box_score,
    class_index,
    class_score,
    find_box,
    find_region,
    find_words,
    region_score,
)
from tests.helpers.errors import refuses


def test_a_class_is_given_by_name_or_number():
    assert class_index("dog", ["cat", "dog"]) == class_index("1", ["cat", "dog"]) == 1
    with refuses(ConfigError, "--target", "'dig'", "'dog'"):
        class_index("dig", ["cat", "dog"])
    with refuses(ConfigError, "--target", "'2'", "below 2"):
        class_index("2", ["cat", "dog"])
    assert class_score(torch.tensor([[1.0, 2], [3, 4]]), [1, 0]).tolist() == [2, 3]


def test_the_score_of_a_box_is_that_of_the_detection_that_overlaps_it_best():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 10]])
    scores = torch.tensor([0.9, 0.5, 0.3], requires_grad=True)
    found = {"boxes": boxes, "scores": scores, "labels": torch.tensor([0, 1, 1])}
    box = find_box(found, "2")
    assert (box.label, box.box.tolist()) == (1, [0, 0, 10, 10])
    score = box_score([found, found], [box, Box(boxes[0] + 20, 1, 1.0)])
    assert torch.allclose(score, torch.tensor([0.3, 0.0]))
    assert torch.autograd.grad(score.sum(), scores)[0].tolist() == [0, 0, 1]
    assert find_box(found, "3") is None
    assert find_box(found, "99999") is None
    for wrong in ("best", "", "-1"):
        with refuses(ConfigError, "--target", f"'{wrong}'"):
            find_box(found, wrong)


def test_a_region_is_a_class_or_a_pixel():
    logits = torch.zeros(3, 2, 4)
    logits[0, :, :2], logits[2, :, 2:], logits[1, 0, 3] = 1, 2, 5
    classes = ["background", "cat", "dog"]
    region = find_region(logits, None, classes)
    assert region.label == 2 and region.pixels.sum() == 3
    assert find_region(logits, "3,0", classes).label == 1
    assert region_score(logits[None], [region]).tolist() == [2]
    assert region_score(logits[None], [Region(1, find_region(logits, "3,0", classes).pixels)]).tolist() == [5]
    with refuses(ConfigError, "--target", "'4,0'", "3,1"):
        find_region(logits, "4,0", classes)


def test_a_word_is_given_by_number_or_spelling_and_has_all_its_pieces():
    texts = [["▁a", "▁tri", "angle", "▁red"]]
    assert find_words(texts, None) == find_words(texts, "1") == find_words(texts, "triangle") == [(1, 3)]
    assert find_words([["un", "##der", "way"]], "under") == [(0, 2)]
    with refuses(ConfigError, "--target", "'triangl'", "'triangle'"):
        find_words(texts, "triangl")
    with refuses(ConfigError, "--target", "'4'", "0 to 2"):
        find_words(texts, "4")


def test_texts_without_the_word_are_left_out_unless_none_has_it():
    texts = [["▁a", "▁red"], ["▁red", "▁dog", "▁2"], []]
    assert find_words(texts, "dog") == [None, (1, 2), None]
    assert find_words(texts, "2") == [None, (2, 3), None]
    assert find_words(texts, None)[2] is None and find_words([[], []], "dog") == [None, None]
    with refuses(ConfigError, "--target", "'zebra'", "red", "dog"):
        find_words(texts, "zebra")
