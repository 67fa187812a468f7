"""The games have the values that pencil and paper give, and so have the penalties."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from modules.losses.adversarial import GAN_LOSSES, dragan, gradient_penalty, r1, slopes

REAL, FAKE = torch.tensor([2.0, -0.5, 0.25]), torch.tensor([-3.0, 0.5, 1.5])


def test_where_the_discriminator_knows_nothing_minimax_costs_two_ln_2():
    zeros = torch.zeros(8, requires_grad=True)
    loss = GAN_LOSSES["minimax"].discriminator(zeros, zeros)
    assert loss.item() == pytest.approx(1.386294, abs=1e-6)
    assert GAN_LOSSES["minimax"].generator(zeros).item() == pytest.approx(-math.log(2))
    assert GAN_LOSSES["non_saturating"].generator(zeros).item() == pytest.approx(math.log(2))
    (slope,) = torch.autograd.grad(loss, zeros)
    assert slope.abs().max() < 1e-7  # equal data on both sides: that is the optimum


def test_the_best_constant_discriminator_between_unequal_shares_is_their_ratio():
    """With three real images for each generated one D = p / (p + q) = 0.75 (Goodfellow et al., proposition 1)."""
    score = torch.tensor(0.3, requires_grad=True)
    optimizer = torch.optim.LBFGS([score], lr=1, max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = 3 * functional.softplus(-score) + functional.softplus(score)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert score.sigmoid().item() == pytest.approx(0.75, abs=1e-4)
    real = 3 * GAN_LOSSES["minimax"].discriminator(score, torch.tensor(-1e4))  # its real half alone
    fake = GAN_LOSSES["minimax"].discriminator(torch.tensor(1e4), score)
    assert (real + fake).item() == pytest.approx(-3 * math.log(0.75) - math.log(0.25), abs=1e-4)


def test_cross_entropies_equal_torchs():
    expected = functional.binary_cross_entropy_with_logits(REAL, torch.ones(3))
    expected += functional.binary_cross_entropy_with_logits(FAKE, torch.zeros(3))
    for name in ("minimax", "non_saturating"):
        torch.testing.assert_close(GAN_LOSSES[name].discriminator(REAL, FAKE), expected)
    opposite = -functional.binary_cross_entropy_with_logits(FAKE, torch.zeros(3))
    torch.testing.assert_close(GAN_LOSSES["minimax"].generator(FAKE), opposite)
    fooled = functional.binary_cross_entropy_with_logits(FAKE, torch.ones(3))
    torch.testing.assert_close(GAN_LOSSES["non_saturating"].generator(FAKE), fooled)


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        ("least_squares", ((1 + 2.25 + 0.5625) / 3 + (9 + 0.25 + 2.25) / 3) / 2, (16 + 0.25 + 0.25) / 6),
        ("hinge", (0 + 1.5 + 0.75) / 3 + (0 + 1.5 + 2.5) / 3, 1 / 3),
        ("wasserstein", -1 / 3 - 1.75 / 3, 1 / 3),
    ],
)
def test_games_by_hand(name, discriminator, generator):
    assert GAN_LOSSES[name].discriminator(REAL, FAKE).item() == pytest.approx(discriminator, abs=1e-6)
    assert GAN_LOSSES[name].generator(FAKE).item() == pytest.approx(generator, abs=1e-6)


def test_scores_in_half_precision_are_summed_in_single():
    scores = torch.full((4096,), 1.001953125).bfloat16()  # bfloat16 knows 1 and 1.0078125, nothing between
    for game in GAN_LOSSES.values():
        assert game.discriminator(scores, scores).dtype == torch.float32
        assert game.generator(scores).dtype == torch.float32


def linear(weight: torch.Tensor):
    return lambda image: image.flatten(1) @ weight


def test_the_penalty_of_a_linear_critic_is_the_squared_distance_of_its_norm_from_one():
    weight = torch.randn(3 * 4 * 4, requires_grad=True)
    real, fake, mix = torch.randn(5, 3, 4, 4), torch.randn(5, 3, 4, 4), torch.rand(5, 1, 1, 1)
    expected = (weight.norm() - 1) ** 2
    for penalty in (
        gradient_penalty(linear(weight), real, fake, mix),
        dragan(linear(weight), real, mix, torch.rand(5, 3, 4, 4)),
    ):
        torch.testing.assert_close(penalty, expected)
        (slope,) = torch.autograd.grad(penalty, weight)  # it can be trained: a second derivative
        torch.testing.assert_close(slope, 2 * (weight.norm() - 1) * weight.detach() / weight.norm())


def test_a_gradient_of_zero_is_penalized_without_nan():
    weight = torch.zeros(12, requires_grad=True)
    image = torch.rand(2, 3, 2, 2)
    penalty = gradient_penalty(linear(weight), image, image, torch.zeros(2, 1, 1, 1))
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    assert torch.autograd.grad(penalty, weight)[0].isfinite().all()


def test_r1_of_a_quadratic():
    """D(x) = x' A x / 2 has the gradient A x."""
    root = torch.randn(12, 12)
    matrix, real = root @ root.T, torch.randn(6, 3, 2, 2)

    def critic(image):
        return (image.flatten(1) @ matrix * image.flatten(1)).sum(1) / 2

    expected = (real.flatten(1) @ matrix).square().sum(1).mean() / 2
    torch.testing.assert_close(r1(critic, real), expected)


def test_the_penalty_looks_between_the_images():
    """D(x) = |x|^2 / 2 has the slope |x|, so the penalty tells where it looked."""
    real, fake = torch.zeros(2, 1, 1, 4), torch.full((2, 1, 1, 4), 2.0)  # norms 0 and 4
    mix = torch.tensor([0.25, 0.5]).view(2, 1, 1, 1)  # norms 3 and 2

    def critic(image):
        return image.flatten(1).square().sum(1) / 2

    assert gradient_penalty(critic, real, fake, mix).item() == pytest.approx((4 + 1) / 2, abs=1e-5)


def test_dragan_looks_half_a_standard_deviation_around_real_images():
    real = torch.tensor([[[[-1.0, 1.0]]], [[[-1.0, 1.0]]]])
    seen = []

    def critic(image):
        seen.append(image)
        return image.flatten(1).sum(1)

    dragan(critic, real, torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), torch.ones_like(real))
    torch.testing.assert_close(seen[0][0], real[0])
    torch.testing.assert_close(seen[0][1], real[1] + real.std() / 2)


def test_slopes_are_computed_in_single_precision_under_autocast():
    net, image = nn.Conv2d(3, 1, 3), torch.randn(2, 3, 8, 8)
    plain = slopes(lambda x: net(x).mean((1, 2, 3)), image)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = slopes(lambda x: net(x).mean((1, 2, 3)), image)
    assert torch.equal(plain, mixed)
