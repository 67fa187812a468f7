"""Adversarial attacks: equal to torchattacks' on the same draws, within their ball, with a gradient in any mode."""

import math

import pytest
import torch
from torch import Tensor, nn

from modules.contracts import ConfigError
from modules.insight.attacks import (
    cross_entropy,
    deepfool,
    fgsm,
    fooling_image,
    gradient,
    lengths,
    parse_eps,
    pgd,
    random_start,
)
from tests.helpers.errors import refuses

EPS = 8 / 255


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(72, 10)).eval()


@pytest.fixture
def image() -> Tensor:
    return torch.rand(6, 3, 16, 16)


@pytest.fixture
def label(network, image) -> Tensor:
    return network(image).argmax(1)


@pytest.fixture
def torchattacks():
    return pytest.importorskip("torchattacks", reason="torchattacks needs an old requests: install it by hand")


def test_fgsm_is_that_of_torchattacks(torchattacks, network, image, label):
    theirs = torchattacks.FGSM(network, EPS)
    assert torch.allclose(fgsm(network, image, label, EPS), theirs(image, label), atol=1e-5)
    theirs.set_mode_targeted_by_label(quiet=True)
    target = (label + 1) % 10
    assert torch.allclose(fgsm(network, image, target, EPS, targeted=True), theirs(image, target), atol=1e-5)


def test_pgd_is_that_of_torchattacks(torchattacks, network, image, label):
    theirs = torchattacks.PGD(network, EPS, 2 / 255, 10, random_start=False)
    assert torch.allclose(pgd(network, image, label, EPS, 10, 2 / 255), theirs(image, label), atol=1e-5)
    torch.manual_seed(1)
    start = torch.empty_like(image).uniform_(-EPS, EPS)
    torch.manual_seed(1)
    theirs = torchattacks.PGD(network, EPS, 2 / 255, 10)(image, label)
    assert torch.allclose(pgd(network, image, label, EPS, 10, 2 / 255, start=start), theirs, atol=1e-5)


def test_pgd_in_l2_is_that_of_torchattacks(torchattacks, network, image, label):
    theirs = torchattacks.PGDL2(network, 1.0, 0.2, 10, random_start=False)
    assert torch.allclose(pgd(network, image, label, 1.0, 10, 0.2, "l2"), theirs(image, label), atol=1e-5)
    torch.manual_seed(1)
    start = torch.empty_like(image).normal_()
    start *= torch.zeros(6, 1, 1, 1).uniform_(0, 1) / lengths(start)
    torch.manual_seed(1)
    theirs = torchattacks.PGDL2(network, 1.0, 0.2, 10)(image, label)
    assert torch.allclose(pgd(network, image, label, 1.0, 10, 0.2, "l2", start), theirs, atol=1e-5)


def test_deepfool_is_that_of_torchattacks(torchattacks, network, image, label):
    label[0] = (label[0] + 1) % 10  # a wrong answer stays
    ours = deepfool(network, image, label)
    assert torch.equal(ours[0], image[0])
    assert torch.allclose(ours, torchattacks.DeepFool(network)(image, label), atol=1e-5)


def test_deepfool_of_a_linear_network_is_the_distance_to_the_nearest_boundary():
    weight = torch.tensor([[1.0, 0], [0, 1], [-3, -1]])
    image = torch.tensor([[0.7, 0.2]])
    rivals = (weight[0] - weight[1:]) @ image[0] / (weight[0] - weight[1:]).norm(dim=1)
    found = deepfool(lambda pixels: pixels @ weight.T, image, torch.tensor([0]), overshoot=0.0001)
    assert (found - image).norm().item() == pytest.approx(rivals.min().item(), rel=1e-3)


def test_the_notes_form_ends_where_the_target_is_the_answer(network, image, label):
    target = (label + 3) % 10
    target[0] = label[0]
    changed, steps = fooling_image(network, image, target, steps=200, step_size=0.3)
    assert torch.equal(network(changed).argmax(1), target)
    assert steps[0] == 0 and torch.equal(changed[0], image[0]) and (steps[1:] > 0).all()
    assert changed.min() >= 0 and changed.max() <= 1


def test_changes_stay_in_their_ball_and_raise_the_loss(network, image, label):
    before = cross_entropy(network(image), label)
    for norm, eps, size in (("linf", 0.02, lambda x: x.abs().max()), ("l2", 0.5, lambda x: lengths(x).max())):
        start = random_start(image, eps, norm, range(6))
        assert 0 < size(start) <= eps * 1.0001
        changed = pgd(network, image, label, eps, 5, norm=norm, start=start)
        assert size(changed - image) <= eps * 1.0001 and changed.min() >= 0 and changed.max() <= 1
        assert cross_entropy(network(changed), label) > before


def test_a_random_start_depends_on_its_key_alone(image):
    whole = random_start(image, 0.1, "linf", [5, 6, 7, 8, 9, 5])
    assert torch.equal(whole[1:3], random_start(image[:2], 0.1, "linf", [6, 7]))
    assert torch.equal(whole[0], whole[5]) and not torch.equal(whole[0], whole[1])


def test_inference_mode_and_frozen_weights_have_gradients(network, image, label):
    expected = pgd(network, image, label, EPS)
    assert not torch.equal(expected, image)
    network.requires_grad_(False)
    try:
        with torch.inference_mode():
            assert torch.equal(pgd(network, image.clone(), label.clone(), EPS), expected)
            assert gradient(network, image, label).flatten(1).abs().amax(1).min() > 0
        assert all(parameter.grad is None for parameter in network.parameters())
    finally:
        network.requires_grad_(True)


@pytest.mark.parametrize("cut", [lambda x: x.detach(), lambda x: x.round().long().float()])
def test_a_network_without_a_gradient_is_refused(network, image, label, cut):
    with refuses(ConfigError, "gradient"):
        gradient(lambda pixels: network(cut(pixels)), image, label)


def test_class_255_of_many_is_no_pixel_to_ignore():
    logits = torch.zeros(1, 300)
    assert cross_entropy(logits, torch.tensor([255])).item() == pytest.approx(math.log(300))
    assert cross_entropy(torch.zeros(1, 4, 1, 2), torch.tensor([[[255, 1]]])).item() == pytest.approx(math.log(4))


def test_eps_is_a_number_or_a_fraction():
    assert parse_eps("eps", "8/255") == parse_eps("eps", 8 / 255) == pytest.approx(EPS)
    assert parse_eps("eps", "1e-2") == 0.01 and parse_eps("eps", "0.5 / 255") == 0.5 / 255
    for text, names in (
        ("8", ["8/255"]),
        ("0", ["above 0"]),
        ("-1/255", ["above 0"]),
        ("8/0", ["8/0"]),
        ("nan", ["nan"]),
    ):
        with refuses(ConfigError, "eps", *names):
            parse_eps("eps", text)
