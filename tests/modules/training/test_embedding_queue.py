"""The queue of embeddings is first in, first out, and finds neighbors."""

import pytest
import torch
from torch.nn.functional import normalize

from modules.losses.contrastive import nt_xent
from modules.training.embedding_queue import Queue


def test_starts_with_random_directions():
    torch.testing.assert_close(Queue(8, 3).keys.norm(dim=1), torch.ones(8))


def test_the_oldest_keys_leave_first():
    queue = Queue(6, 2)
    batches = [torch.full((2, 2), float(i)) for i in range(4)]
    for batch in batches:
        queue.push(batch)
    assert queue.keys[:, 0].tolist() == [3, 3, 1, 1, 2, 2]  # 0 came first and is gone
    assert queue.oldest.item() == 2


def test_a_batch_that_reaches_over_the_end_goes_on_at_the_start():
    queue = Queue(5, 1)
    queue.push(torch.tensor([[0.0], [1.0], [2.0], [3.0]]))
    queue.push(torch.tensor([[4.0], [5.0]]))
    assert queue.keys[:, 0].tolist() == [5, 1, 2, 3, 4]


def test_place_and_keys_are_in_the_state():
    queue, other = Queue(4, 2), Queue(4, 2)
    queue.push(torch.ones(3, 2))
    other.load_state_dict(queue.state_dict())
    other.push(torch.zeros(1, 2))
    assert other.keys[:, 0].tolist() == [1, 1, 1, 0]


def test_the_nearest_key_is_that_of_the_smallest_angle():
    queue = Queue(3, 2)
    queue.push(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    assert queue.nearest(torch.tensor([[3.0, 2.0], [-1.0, 5.0], [-9.0, -1.0]])).tolist() == [[1, 0], [0, 1], [-1, 0]]


def test_nnclr_has_lightlys_neighbors_and_loss():
    reason = "lightly is not installed: pip install -e '.[bench]'"
    loss, modules = (pytest.importorskip(f"lightly.{part}", reason=reason) for part in ("loss", "models.modules"))
    torch.manual_seed(0)
    bank, queue = modules.NNMemoryBankModule((12, 8)), Queue(12, 8)
    for embeddings in torch.randn(4, 6, 8):
        bank(embeddings, update=True)
        queue.push(normalize(embeddings, dim=1))
    embeddings, predictions = torch.randn(2, 6, 8).unbind()
    expected = loss.NTXentLoss(0.1)(bank(embeddings), predictions)
    torch.testing.assert_close(nt_xent(queue.nearest(embeddings), predictions, 0.1), expected, atol=1e-5, rtol=1e-5)
