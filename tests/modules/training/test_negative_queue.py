"""The memory of negatives is first in, first out."""

import torch

from modules.training.negative_queue import Queue


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
