"""The vote of `evaluate` as its settings choose it."""

import pytest
import torch

from callbacks.knn import knn_predict
from commands.evaluate.voting import choose_voting
from modules.contracts import ConfigError
from tests.helpers.errors import refuses


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("cosine", None, None), "T 0.1"),
        (("cosine", "majority", None), "cosine distance, majority vote, ties to the nearest"),
        (("cosine", None, "shrink"), "cosine distance, majority vote, ties without the farthest"),
        (("l1", None, None), "L1 distance, majority vote, ties to the nearest"),
        (("l2", "majority", "smallest"), "L2 distance, majority vote, ties to the first class"),
    ],
)
def test_settings_choose_the_vote(settings, words):
    assert choose_voting(*settings, 0.1).words == words


def test_several_numbers_of_neighbors_are_those_one_by_one():
    bank, labels, features = torch.randn(50, 4), torch.randint(0, 3, (50,)), torch.randn(20, 4)
    for voting in (choose_voting("l2", None, None, 0.1), choose_voting("cosine", None, None, 0.1)):
        several = voting.predict(bank, labels, features, [1, 4, 9], 3)
        for k, predicted in zip((1, 4, 9), several, strict=True):
            assert torch.equal(predicted, voting.predict(bank, labels, features, [k], 3)[0])
        assert voting.predict(bank, labels, features, [], 3) == []
    assert torch.equal(several[1], knn_predict(bank, labels, features, 4, 0.1, 3))


def test_votes_that_cannot_be_are_refused():
    with refuses(ConfigError, "vote", "l2", "--vote majority"):
        choose_voting("l2", "weighted", None, 0.1)
    with refuses(ConfigError, "ties", "shrink", "--vote majority"):
        choose_voting("cosine", "weighted", "shrink", 0.1)
