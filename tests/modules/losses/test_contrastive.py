"""NT-Xent and SupCon against their definitions, in one process and over several."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from modules.losses.contrastive import nt_xent, supcon


def views(batch: int = 6, dimension: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, dimension, requires_grad=True), torch.randn(batch, dimension, requires_grad=True)


def by_definition(first: Tensor, second: Tensor, temperature: float) -> float:
    """Equation 1 of the paper, one pair after the other, in Python's floats."""
    everything = [[x / math.hypot(*row) for x in row] for row in [*first.tolist(), *second.tolist()]]
    batch, total = len(first), 0.0
    for i, query in enumerate(everything):
        similar = [math.exp(sum(a * b for a, b in zip(query, key, strict=True)) / temperature) for key in everything]
        total -= math.log(similar[(i + batch) % (2 * batch)] / sum(s for k, s in enumerate(similar) if k != i))
    return total / (2 * batch)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_equals_a_double_loop_over_all_pairs(temperature):
    first, second = views()
    expected = by_definition(first, second, temperature)
    assert nt_xent(first, second, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_starts_near_the_logarithm_of_the_number_of_candidates():
    first, second = views(128, 2048)
    assert nt_xent(first, second, 0.5).item() == pytest.approx(math.log(2 * 128 - 1), abs=0.02)


def test_is_symmetric_in_the_views():
    first, second = views()
    torch.testing.assert_close(nt_xent(first, second, 0.2), nt_xent(second, first, 0.2))


def test_does_not_depend_on_the_length_of_embeddings():
    first, second = views()
    torch.testing.assert_close(nt_xent(first, second, 0.2), nt_xent(7 * first, second / 3, 0.2))


def test_is_computed_in_float32_under_bf16_autocast():
    first, second = views(32, 64)
    with torch.autocast("cpu", torch.bfloat16):
        loss = nt_xent(first, second, 0.1)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, nt_xent(first, second, 0.1))


def test_half_precision_embeddings_do_not_overflow_at_a_low_temperature():
    first, _ = views(16, 64)
    half = first.detach().half().requires_grad_()
    loss = nt_xent(half, -half.detach(), 0.01)  # as wrong as can be: exp(100) on either side
    loss.backward()
    assert 100 < loss.item() < 300
    assert half.grad.isfinite().all()


def test_identical_views_of_orthogonal_images_give_the_closed_form():
    embeddings = torch.eye(4)
    expected = -math.log(math.e**2 / (math.e**2 + 6))  # temperature 0.5: one positive, six orthogonal negatives
    assert nt_xent(embeddings, embeddings, 0.5).item() == pytest.approx(expected)


@pytest.mark.parametrize("devices", [2, 3])
def test_gathered_batches_equal_one_large_batch_in_loss_and_gradient(devices):
    first, second = views()
    whole = nt_xent(first, second, 0.2)
    expected = torch.autograd.grad(whole, (first, second))
    parts = zip(first.chunk(devices), second.chunk(devices), strict=True)
    losses = [nt_xent(a, b, 0.2, (first, second), rank) for rank, (a, b) in enumerate(parts)]
    mean = torch.stack(losses).mean()
    torch.testing.assert_close(mean, whole)
    for ours, theirs in zip(torch.autograd.grad(mean, (first, second)), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_training_on_it_brings_the_views_together():
    first, second = views(8, 16)
    optimizer = torch.optim.SGD([first, second], 5.0)
    for _ in range(100):
        optimizer.zero_grad()
        nt_xent(first, second, 0.5).backward()
        optimizer.step()
    similar = functional.normalize(first, dim=1) @ functional.normalize(second, dim=1).T
    assert (similar.argmax(1) == torch.arange(8)).all()
    assert similar.diagonal().min() > 0.9


def test_the_rank_counts_only_where_embeddings_were_gathered():
    first, second = views()
    torch.testing.assert_close(nt_xent(first, second, 0.2, None, rank=3), nt_xent(first, second, 0.2))


def supcon_by_definition(embeddings: Tensor, label: list[int], temperature: float) -> float:
    """Equation 2 of the paper, one pair after the other, in Python's floats."""
    points, total = [[x / math.hypot(*row) for x in row] for row in embeddings.tolist()], 0.0
    for i, anchor in enumerate(points):
        similar = [math.exp(sum(a * b for a, b in zip(anchor, key, strict=True)) / temperature) for key in points]
        rest = sum(s for k, s in enumerate(similar) if k != i)
        positive = [s for k, s in enumerate(similar) if k != i and label[k] == label[i]]
        total -= sum(math.log(s / rest) for s in positive) / len(positive)
    return total / len(points)


def test_supcon_equals_a_double_loop_over_all_pairs():
    embeddings, label = torch.cat(views()), [0, 1, 0, 2, 1, 0] * 2
    expected = supcon_by_definition(embeddings, label, 0.3)
    assert supcon(embeddings, torch.tensor(label), 0.3).item() == pytest.approx(expected, rel=1e-5)


def test_supcon_of_images_that_are_each_a_class_is_nt_xent_with_its_gradient():
    first, second = views()
    loss, expected = supcon(torch.cat([first, second]), torch.arange(6).repeat(2), 0.2), nt_xent(first, second, 0.2)
    torch.testing.assert_close(loss, expected)
    pairs = zip(*(torch.autograd.grad(each, (first, second)) for each in (loss, expected)), strict=True)
    assert all(torch.allclose(ours, theirs, atol=1e-6) for ours, theirs in pairs)


def test_supcon_of_classes_that_are_points_is_a_closed_form():
    embeddings = torch.eye(2).repeat_interleave(3, 0)  # two classes of three, orthogonal: 2 near, 3 far
    expected = math.log(2 + 3 * math.exp(-1 / 0.5))
    assert supcon(embeddings, torch.arange(2).repeat_interleave(3), 0.5).item() == pytest.approx(expected, rel=1e-5)
