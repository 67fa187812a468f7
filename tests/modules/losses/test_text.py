"""The loss of decoders against torch's cross_entropy, and the regularizer of attention against closed forms."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from modules.losses import text
from modules.losses.text import doubly_stochastic, label_smoothed_cross_entropy, reinforce
from modules.text.tokens import PAD

VOCABULARY = 11


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    target = torch.randint(1, VOCABULARY, (5, 7))
    target[1, 3:], target[4, 1:] = PAD, PAD
    states, weight = torch.randn(5, 7, 6, dtype=torch.float64), torch.randn(VOCABULARY, 6, dtype=torch.float64)
    return states.requires_grad_(), weight.requires_grad_(), target


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("at_once", [1, 4 * VOCABULARY, 2**20], ids=["a row", "some rows", "all rows"])
def test_loss_and_gradients_equal_torchs_cross_entropy(case, smoothing: float, at_once: int, monkeypatch):
    monkeypatch.setitem(text.AT_ONCE, "cpu", at_once)
    states, weight, target = case
    expected = cross_entropy(
        (states @ weight.T).flatten(0, 1), target.flatten(), ignore_index=PAD, label_smoothing=smoothing
    )
    slopes = torch.autograd.grad(3 * expected, (states, weight))
    loss = label_smoothed_cross_entropy(states, weight, target, smoothing)
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(torch.autograd.grad(3 * loss, (states, weight)), slopes, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_sum_is_the_mean_times_the_tokens_that_count(case):
    states, weight, target = case
    total = label_smoothed_cross_entropy(states, weight, target, mean=False)
    assert (target != PAD).sum() == 7 * 3 + 3 + 1
    torch.testing.assert_close(total, 25 * label_smoothed_cross_entropy(states, weight, target))


def test_states_of_padding_do_not_matter(case):
    states, weight, target = case
    wild = states.detach().masked_fill((target == PAD)[..., None], torch.nan).requires_grad_()
    loss = label_smoothed_cross_entropy(wild, weight, target)
    torch.testing.assert_close(loss, label_smoothed_cross_entropy(states, weight, target))
    loss.backward()
    assert wild.grad[target == PAD].abs().max() == 0


def test_nothing_but_padding_costs_nothing(case):
    states, weight, _ = case
    loss = label_smoothed_cross_entropy(states, weight, torch.full((5, 7), PAD))
    loss.backward()
    assert loss.item() == 0
    assert weight.grad.abs().max() == 0


def test_without_gradients_the_loss_is_the_same(case):
    states, weight, target = case
    with torch.no_grad():
        quiet = label_smoothed_cross_entropy(states, weight, target)
    torch.testing.assert_close(quiet, label_smoothed_cross_entropy(states, weight, target).detach())


def test_autocast_multiplies_in_half_precision_and_sums_in_float32(case):
    states, weight, target = (x.detach().float() if x.is_floating_point() else x for x in case)
    weight.requires_grad_()
    exact = label_smoothed_cross_entropy(states, weight, target)
    with torch.autocast("cpu", torch.bfloat16):
        rough = label_smoothed_cross_entropy(states, weight, target)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs() < 0.02
    rough.backward()
    assert weight.grad.dtype == torch.float32


def test_looking_once_at_every_place_is_free_and_staring_is_not():
    target = torch.tensor([[5, 6, 7, 8], [5, 6, PAD, PAD]])
    even = torch.full((2, 4, 4), 0.25)
    assert doubly_stochastic(even[:1], target[:1]).item() == 0
    assert doubly_stochastic(even[1:], target[1:]).item() == pytest.approx(0.25)  # two words reach a half everywhere
    stare = torch.zeros(1, 4, 4)
    stare[..., 0] = 1
    assert doubly_stochastic(stare, target[:1]).item() == pytest.approx((9 + 3) / 4)


def test_reinforce_raises_what_was_worth_more_by_its_share_of_the_tokens():
    logits = torch.randn(2, 3, VOCABULARY, dtype=torch.float64, requires_grad=True)
    target, advantage = torch.tensor([[4, 5, 2], [6, 2, PAD]]), torch.tensor([2.0, -0.5])
    (slope,) = torch.autograd.grad(reinforce(logits, target, advantage), logits)
    for row, length in enumerate((3, 2)):
        for place in range(3):
            one = torch.zeros(VOCABULARY, dtype=torch.float64)
            one[target[row, place]] = 1
            # of -advantage * log p by the logits, a mean over five tokens
            expected = -advantage[row] * (one - logits[row, place].detach().softmax(0)) / 5
            torch.testing.assert_close(
                slope[row, place], expected if place < length else torch.zeros_like(one), check_dtype=False
            )


def test_in_expectation_reinforce_follows_the_mean_reward():
    """Summed over all that may be drawn, with their probabilities, the gradient is that of the expected reward."""
    logits, worth = torch.randn(5, dtype=torch.float64, requires_grad=True), torch.rand(5, dtype=torch.float64)
    expected = torch.autograd.grad(-(logits.softmax(0) * worth).sum(), logits)[0]
    chances, total = logits.detach().softmax(0), 0
    for token in range(1, 5):  # 0 is PAD, which is never drawn
        baseline = worth[0]  # whatever is compared with: it changes nothing
        loss = reinforce(logits[None, None], torch.tensor([[token]]), (worth[token] - baseline)[None])
        total = total + chances[token] * torch.autograd.grad(loss, logits, retain_graph=True)[0]
    torch.testing.assert_close(total, expected)
