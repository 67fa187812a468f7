"""Scores of a split, collected over batches and processes."""

import numpy as np
import pytest
import torch

from modules.metrics.score_bank import ScoreBank
from tests.helpers.forks import in_group

SCORES = torch.tensor([[0.1, 0.9], [0.5, 0.5], [0.8, 0.2]])
TRUTH = {True: torch.tensor([[0, 1], [1, 1], [0, 0]], dtype=torch.uint8), False: torch.tensor([1, 0, 0])}


def collected(tags: bool, batches: list[slice]) -> list[torch.Tensor]:
    bank = ScoreBank(2, tags)
    for rows in batches:
        bank.update(SCORES[rows], TRUTH[tags][rows])
    return [torch.from_numpy(np.array(part)) for part in bank.compute()]


@pytest.mark.integration
@pytest.mark.parametrize("tags", [True, False])
@pytest.mark.parametrize("of_first", [2, 3])
def test_every_process_gets_the_samples_of_all_even_where_one_has_none(tags, of_first, tmp_path):
    parts = [[slice(0, 1), slice(1, of_first)], [slice(2, 3)] * (of_first == 2)]
    for scores, truth in in_group(lambda rank: collected(tags, parts[rank]), tmp_path):
        assert torch.equal(scores, SCORES)
        assert torch.equal(truth, TRUTH[tags])


def test_a_split_without_samples_has_no_rows():
    scores, truth = collected(True, [])
    assert scores.shape == truth.shape == (0, 2)
