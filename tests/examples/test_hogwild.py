"""The example of asynchronous SGD in shared memory."""

import torch
from torch.nn import functional

from examples import hogwild
from examples.hogwild import BATCH, RATE, digits, draws, gradient, loss, run_free, run_together, train


def plain(gradients: int, processes: int = 1) -> torch.Tensor:
    """Weights of torch's own SGD, on the mean gradient of the batches of all processes."""
    weights, sources = torch.zeros(65, 10, requires_grad=True), [draws(rank, *digits()) for rank in range(processes)]
    optimizer = torch.optim.SGD([weights], lr=RATE)
    for _ in range(gradients // processes):
        weights.grad = torch.stack([gradient(weights.detach(), *draw()) for draw in sources]).mean(0)
        optimizer.step()
    return weights.detach()


def test_gradients_are_those_of_autograd():
    weights, (x, labels) = torch.rand(65, 10, requires_grad=True), digits()
    functional.cross_entropy(x[:BATCH] @ weights, labels[:BATCH]).backward()
    torch.testing.assert_close(gradient(weights.detach(), x[:BATCH], labels[:BATCH]), weights.grad)


def test_one_process_is_plain_sgd_and_nothing_is_stale():
    shared = train(run_free, 1, 40)
    assert torch.equal(shared.weights, plain(40))
    assert shared.updates.value == 40 and not shared.stale.any()


def test_processes_that_wait_take_the_mean_gradient():
    torch.testing.assert_close(train(run_together, 2, 40).weights, plain(40, 2))


def test_two_processes_without_a_lock_learn_and_count_what_is_stale():
    shared, data = train(run_free, 2, 400), digits()
    assert shared.updates.value == 400 and shared.stale.shape == (2, 200)
    assert shared.stale.min() >= 0 and shared.stale.max() <= 200
    assert loss(shared.weights, *data) < 0.5 < loss(torch.zeros(65, 10), *data)


def test_the_page_prints_and_draws_all_three(tmp_path, capsys):
    found = hogwild.main(tmp_path, 200)
    printed = capsys.readouterr().out
    assert len(found) == 3 and all(name in printed for name in found)
    assert (tmp_path / "hogwild.png").is_file()
