"""kNN against scikit-learn, and its rules for ties against votes worked out by hand."""

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from modules.metrics import neighbors
from modules.metrics.neighbors import majority, nearest

METRICS = {"l1": "manhattan", "l2": "euclidean", "cosine": "cosine"}


@pytest.mark.parametrize("distance", METRICS)
@pytest.mark.parametrize("k", [1, 4, 9])
def test_neighbors_and_votes_are_those_of_scikit_learn(distance, k, monkeypatch):
    monkeypatch.setattr(neighbors, "CHUNK", 500)  # parts of a few rows
    bank, queries, labels = torch.randn(60, 5), torch.randn(40, 5), torch.randint(0, 4, (60,))
    library = KNeighborsClassifier(k, metric=METRICS[distance], algorithm="brute").fit(bank.double(), labels)
    distances, rows = nearest(bank, queries, k, distance)
    expected, found = (torch.from_numpy(part) for part in library.kneighbors(queries.double()))
    torch.testing.assert_close(distances, expected.float(), rtol=1e-4, atol=1e-6)
    assert torch.equal(rows, found)
    assert majority(labels[rows], 4, "smallest").tolist() == library.predict(queries.double()).tolist()


@pytest.mark.parametrize("distance", METRICS)
def test_equally_far_neighbors_come_in_the_order_of_the_bank(distance):
    near, far = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])
    bank = torch.cat([far, *[near] * 30, far, *[near] * 30])
    _, rows = nearest(bank, torch.tensor([[3.1, 4.0]]), 40, distance)
    assert rows.tolist() == [[*range(1, 31), *range(32, 42)]]
    assert nearest(bank, near, 62, distance)[1][0, -2:].tolist() == [0, 31]


@pytest.mark.parametrize("distance", METRICS)
def test_copies_among_many_wide_rows_are_equally_far(distance):
    bank, queries = 100 + torch.randn(150, 300), 100 + torch.randn(3, 300)
    bank[[5, 77, 149]] = queries[0] + 0.01 * torch.randn(300)
    distances, rows = nearest(bank, queries, 4, distance)
    assert rows[0, :3].tolist() == [5, 77, 149] and distances[0, 0] == distances[0, 1] == distances[0, 2]


@pytest.mark.parametrize(
    ("labels", "nearest_wins", "smallest_wins", "shrunk_wins"),
    [
        ([2, 1, 1, 2], 2, 1, 1),  # without the last one, 1 has two of three
        ([2, 0, 1], 2, 0, 2),  # down to the nearest alone
        ([3, 1, 2, 2, 1], 1, 1, 2),  # 3 is nearest, but has one vote only
        ([1, 0, 0], 0, 0, 0),  # no tie
    ],
)
def test_rules_for_ties(labels, nearest_wins, smallest_wins, shrunk_wins):
    votes = torch.tensor([labels])
    found = [majority(votes, 4, rule).item() for rule in ("nearest", "smallest", "shrink")]
    assert found == [nearest_wins, smallest_wins, shrunk_wins]
