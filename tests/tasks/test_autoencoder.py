"""Auto-encoders: initial loss, memorization of a handful, and refusals."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import interpolate

from callbacks.collectors.reconstruction import ReconstructionCollector
from modules.contracts import ConfigError
from modules.gan import DCGANGenerator
from modules.losses.variational import divergence, likelihood_loss
from modules.training.optim import Optim
from tasks import AutoEncoder
from tests.helpers.errors import refuses
from tests.helpers.training import train


def autoencoder(**changes) -> AutoEncoder:
    small = {"decoder": lambda canvas, latent: DCGANGenerator(canvas, latent, width=16), "latent": 32, "image_size": 32}
    return AutoEncoder(**({"backbone": "test_resnet", "optim": Optim(lr=0.003, warmup=0)} | small | changes))


def smooth(count: int = 16, size: int = 32) -> torch.Tensor:
    return interpolate(255 * torch.rand(count, 3, 4, 4), (size, size), mode="bilinear").to(torch.uint8)


def given(task: AutoEncoder, image: torch.Tensor) -> dict:
    return {"image": task.backbone.normalize(image), "id": ["x"] * len(image)}


def test_divergence_equals_torch_and_is_zero_for_the_standard_normal():
    mean, log_variance = torch.randn(6, 5), torch.randn(6, 5)
    normals = Normal(mean, (0.5 * log_variance).exp()), Normal(torch.zeros(6, 5), torch.ones(6, 5))
    torch.testing.assert_close(divergence(mean, log_variance), kl_divergence(*normals).sum(1))
    assert divergence(torch.zeros(2, 5), torch.zeros(2, 5)).tolist() == [0, 0]


def test_the_likelihood_is_that_of_the_best_variance():
    error = torch.tensor(0.09)
    residual = 0.3 * torch.tensor([1.0, -1.0]).repeat(50)
    best = -Normal(0.0, 0.3).log_prob(residual).mean()
    assert likelihood_loss(error).item() == pytest.approx(best.item() - 0.5 * (1 + math.log(2 * math.pi)))
    for other in (0.25, 0.35):
        assert -Normal(0.0, other).log_prob(residual).mean() > best


@pytest.mark.parametrize("settings", [{}, {"noise": 0.3}, {"beta": 1.0}], ids=["plain", "denoising", "variational"])
def test_it_starts_at_gray_and_learns_to_draw_a_handful(settings):
    torch.manual_seed(0)
    image = smooth()
    task = autoencoder(**settings)
    target = image.float() / 127.5 - 1
    before = task.eval()._costs(task._pass(given(task, image)["image"], torch.Generator().manual_seed(0)))
    gray = target.square().mean().item()  # error of an all-gray image
    assert before["reconstruction_mse"].item() == pytest.approx(gray, rel=0.1)
    train(task.train(), {"image": image.clone(), "id": ["x"] * 16}, steps=80)
    after = task.eval()._costs(task._pass(given(task, image)["image"], torch.Generator().manual_seed(0)))
    assert after["reconstruction_mse"] < 0.5 * before["reconstruction_mse"]


def test_it_trains_with_weights_of_half_the_precision():
    train(autoencoder(), {"image": smooth(), "id": ["x"] * 16}, steps=2, precision="bf16-true")


def test_what_is_drawn_is_compared_with_the_image_without_noise():
    task, image = autoencoder(noise=0.4), smooth()
    output = task._pass(given(task, image)["image"], torch.Generator().manual_seed(0))
    torch.testing.assert_close(output.target, image.float() / 127.5 - 1, atol=1e-5, rtol=0)
    assert (output.seen - output.target).std().item() == pytest.approx(2 * 0.4, rel=0.03)  # -1..1 is twice as wide
    clean = autoencoder()._pass(given(task, image)["image"], None)
    assert torch.equal(clean.seen, clean.target)


def test_the_loss_of_a_variational_one_weighs_its_divergence_by_beta():
    image, costs = smooth(), {}
    for beta in (1.0, 4.0):
        torch.manual_seed(0)
        task = autoencoder(beta=beta).eval()
        costs[beta] = task.compute_loss(given(task, image), torch.Generator().manual_seed(0))
    one, four = costs[1.0], costs[4.0]
    torch.testing.assert_close(four["loss"] - one["loss"], 3 * one["kl"] / (3 * 32 * 32))
    torch.testing.assert_close(one["loss"], one["reconstruction_mse"].log() / 2 + one["kl"] / (3 * 32 * 32))


def test_only_a_variational_one_draws_new_images():
    task = autoencoder(beta=1.0)
    made = task.generate(5, torch.Generator().manual_seed(3))
    assert made.shape == (5, 3, 32, 32) and made.abs().max() <= 1
    assert torch.equal(made, task.generate(5, torch.Generator().manual_seed(3)))
    assert task.decoder.training
    with refuses(ConfigError, "--model.beta"):
        autoencoder().generate(5, None)


def test_validation_answers_with_what_comes_back_and_is_the_same_every_time():
    task, image = autoencoder(beta=1.0, noise=0.2).eval(), smooth(4)
    logged = []
    task.log_mean = lambda stage, values, count: logged.append(values)
    answers = [task.eval_step(given(task, image), 3, "val") for _ in range(2)]
    assert {key: tuple(value.shape) for key, value in answers[0].items()} == {
        "reconstruction": (4, 3, 32, 32),
        "seen": (4, 3, 32, 32),
        "code": (4, 32),
    }
    assert answers[0]["reconstruction"].dtype == torch.uint8
    assert all(torch.equal(answers[0][key], answers[1][key]) for key in answers[0])
    assert logged[0] == logged[1] and set(logged[0]) == {"loss", "reconstruction_mse", "kl"}


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"latent": 0}, ("model.latent", 0)),
        ({"noise": -1.0}, ("model.noise", -1)),
        ({"beta": 0.0}, ("model.beta", 0.0)),
        ({"image_size": None}, ("--model.image_size",)),
        ({"image_size": 33}, (33, "--data.image_size", 32, 40)),
    ],
)
def test_settings_that_cannot_work_are_named(settings, names):
    with refuses(ConfigError, *names):
        autoencoder(**settings)


@pytest.mark.parametrize(("backbone", "size"), [("test_vit", 160), ("UNetEncoder", 32)])
def test_other_backbones_encode_too(backbone, size):
    from modules.backbones import UNetEncoder

    task = autoencoder(
        backbone=UNetEncoder(channels=(8, 16)) if backbone == "UNetEncoder" else backbone, image_size=size
    )
    assert task(task.backbone.normalize(smooth(2, size))).shape == (2, 3, size, size)


def test_images_of_another_size_than_it_draws_are_refused():
    task = autoencoder()
    with refuses(ConfigError, "64 x 64", "--data.image_size 32"):
        task.compute_loss(given(task, smooth(2, 64)), None)


def test_a_batch_of_one_can_be_trained_on():
    task = autoencoder(image_size=64)
    before = task.code.weight.clone()
    train(task, {"image": smooth(1, 64), "id": ["x"]}, steps=1)
    assert not torch.equal(task.code.weight, before)


@pytest.mark.parametrize(("count", "names"), [(1, set()), (3, {"latent_interpolations", "latent_traversals"})])
def test_codes_are_walked_between_images_where_there_are_two(count, names):
    task, image = autoencoder().eval(), smooth(count)
    batch = given(task, image)
    task.log_mean = lambda *_: None
    collector = ReconstructionCollector(keep=8)
    collector.update(batch, task.eval_step(batch, count, "val"), task, 0)
    drawn = dict(collector.draw("val", task, None))
    assert drawn.keys() == {"reconstructions", "worst_reconstructions"} | names
