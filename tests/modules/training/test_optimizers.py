"""Optimizers by name against their formulas, penalties against torch and scikit-learn, and SAM against its own."""

from functools import partial

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn
from torch.nn import functional

from modules.contracts import ConfigError
from modules.training.optim import Optim
from tests.helpers.errors import refuses


def stepped(optim: Optim, gradients: torch.Tensor, start: torch.Tensor) -> list[torch.Tensor]:
    """A weight (2, 3) after each step with the given gradients, at a constant rate."""
    layer = nn.ParameterList([nn.Parameter(start.clone())])
    optimizer, _ = optim.build(layer, None, len(gradients))
    seen = []
    for gradient in gradients:
        layer[0].grad = gradient.clone()
        optimizer.step()
        seen.append(layer[0].detach().clone())
    return seen


def amsgrad(w, gradients, lr):
    m = v = most = torch.zeros(2, 3)
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        most = torch.maximum(most, v)
        w = w - lr * m / (1 - 0.9**t) / ((most / (1 - 0.999**t)).sqrt() + 1e-8)
    return w


def adagrad(w, gradients, lr):
    total = torch.zeros(2, 3)
    for g in gradients:
        total = total + g**2
        w = w - lr * g / (total.sqrt() + 1e-10)
    return w


def rmsprop(w, gradients, lr):
    mean = torch.zeros(2, 3)
    for g in gradients:
        mean = 0.99 * mean + 0.01 * g**2
        w = w - lr * g / (mean.sqrt() + 1e-8)
    return w


def momentum(w, gradients, lr, nesterov=False):
    v = torch.zeros(2, 3)
    for g in gradients:
        v = 0.9 * v + g
        w = w - lr * (g + 0.9 * v if nesterov else v)
    return w


def lion(w, gradients, lr):
    m = torch.zeros(2, 3)
    for g in gradients:
        w = w - lr * (0.9 * m + 0.1 * g).sign()
        m = 0.99 * m + 0.01 * g
    return w


def lamb(w, gradients, lr):
    """You et al. 2020: Adam's update in the length of the weights; timm clips the norm of all gradients to 1."""
    m = v = torch.zeros(2, 3)
    for t, g in enumerate(gradients, 1):
        g = g / g.norm().clamp_min(1)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        update = m / (1 - 0.9**t) / ((v / (1 - 0.999**t)).sqrt() + 1e-6) + 0.01 * w
        w = w - lr * update * w.norm() / update.norm()
    return w


FORMULAS = {
    "AdamW --optim.optimizer.amsgrad true": amsgrad,
    "Adagrad": adagrad,
    "RMSprop": rmsprop,
    "SGD": lambda w, gradients, lr: w - lr * gradients.sum(0),
    "SGD --optim.optimizer.momentum 0.9": momentum,
    "SGD --optim.optimizer.momentum 0.9 --optim.optimizer.nesterov true": partial(momentum, nesterov=True),
    "Lion": lion,
    "Lamb": lamb,
}


@pytest.fixture(scope="module")
def parser() -> ArgumentParser:
    made = ArgumentParser(exit_on_error=False)
    made.add_argument("--optim", type=Optim, default=Optim())
    return made


def named(parser: ArgumentParser, typed: str, decay: float = 0.0) -> Optim:
    words = f"--optim.optimizer {typed} --optim.weight_decay {decay} --optim.schedule constant --optim.warmup 0"
    settings = parser.parse_args(f"{words} --optim.lr 0.1".split())
    return parser.instantiate(settings).optim


@pytest.mark.parametrize("typed", FORMULAS)
def test_optimizers_by_name_follow_their_formulas(parser, typed):
    gradients, start = torch.randn(6, 2, 3), torch.randn(2, 3)
    found = stepped(named(parser, typed, 0.01 if typed == "Lamb" else 0.0), gradients, start)
    torch.testing.assert_close(found[-1], FORMULAS[typed](start, gradients, 0.1))


def test_muon_moves_matrices_along_orthogonal_directions(parser):
    """timm.optim.Muon: all singular values of the update of a matrix are about equal; norms and biases have AdamW."""
    start, gradient = torch.zeros(2, 3), torch.tensor([[3.0, 0, 0], [0, 0.5, 0]])
    (moved,) = stepped(named(parser, "timm.optim.Muon"), gradient[None], start)
    values = torch.linalg.svdvals(moved)
    assert values[0] / values[1] < 1.8 < 3 / 0.5
    with refuses(ConfigError, "optim.optimizer", "timm.optim.Muon"):
        named(parser, "torch.optim.Muon").build(nn.Linear(2, 2), None, 1)


def test_decay_in_the_loss_is_sgds_own_and_decoupled_is_adamws():
    gradients, start = torch.randn(5, 2, 3), torch.randn(2, 3)
    keep = {"lr": 0.1, "weight_decay": 0.3, "schedule": "constant", "warmup": 0}
    sgd, adam = partial(torch.optim.SGD, momentum=0.9), torch.optim.Adam
    pairs = [
        (Optim(sgd, decay="loss", **keep), Optim(sgd, **keep)),
        (Optim(adam, decay="loss", **keep), Optim(adam, **keep)),
        (Optim(adam, decay="decoupled", **keep), Optim(torch.optim.AdamW, **keep)),
        (Optim(decay="decoupled", **keep), Optim(torch.optim.AdamW, **keep)),
    ]
    for ours, own in pairs:
        torch.testing.assert_close(stepped(ours, gradients, start), stepped(own, gradients, start))


@pytest.mark.parametrize("l1", [0.0, 0.2])
@pytest.mark.parametrize("closure", [False, True])
def test_a_penalty_in_the_loss_has_the_gradient_of_the_elastic_net(l1, closure):
    layer = nn.Linear(3, 2)
    weight, bias = layer.weight.detach().clone().requires_grad_(), layer.bias.detach().clone()
    x, y = torch.randn(4, 3), torch.randn(4, 2)
    optim = Optim(torch.optim.SGD, lr=0.1, decay="loss", weight_decay=0.3, l1=l1, schedule="constant", warmup=0)
    optimizer, _ = optim.build(layer, None, 1)

    def evaluate() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.mse_loss(layer(x), y)
        loss.backward()
        return loss

    if closure:
        optimizer.step(evaluate)
    else:
        evaluate()
        optimizer.step()
    penalty = l1 * weight.abs().sum() + 0.15 * weight.square().sum()
    (gradient,) = torch.autograd.grad(functional.mse_loss(x @ weight.T + bias, y) + penalty, weight)
    torch.testing.assert_close(layer.weight, weight - 0.1 * gradient)


def test_decoupled_penalties_reach_scikit_learns_elastic_net_with_its_zeros():
    from sklearn.linear_model import ElasticNet

    torch.manual_seed(0)
    x = torch.randn(60, 8)
    y = x[:, :2] @ torch.tensor([2.0, -1.0]) + 0.1 * torch.randn(60)
    reference = ElasticNet(alpha=0.2, l1_ratio=0.75, fit_intercept=True, tol=1e-8).fit(x, y)
    layer = nn.Linear(8, 1)
    keep = {"l1": 0.15, "weight_decay": 0.05, "schedule": "constant", "warmup": 0}
    optimizer, _ = Optim(torch.optim.SGD, lr=0.3, decay="decoupled", **keep).build(layer, None, 300)
    for _ in range(300):
        optimizer.zero_grad()
        (0.5 * functional.mse_loss(layer(x)[:, 0], y)).backward()
        optimizer.step()
    weight = layer.weight.detach()[0].numpy()
    np.testing.assert_allclose(weight, reference.coef_, atol=1e-4)
    assert ((weight == 0) == (reference.coef_ == 0)).all() and (weight == 0).sum() >= 4


def test_l_bfgs_in_the_loss_reaches_scikit_learns_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    torch.manual_seed(0)
    x, label = torch.randn(50, 4), torch.randint(0, 3, (50,))
    reference = LogisticRegression(C=1 / (50 * 0.1), tol=1e-8).fit(x, label)
    layer = nn.Linear(4, 3)
    make = partial(torch.optim.LBFGS, line_search_fn="strong_wolfe")
    keep = {"decay": "loss", "weight_decay": 0.1, "schedule": "constant", "warmup": 0}
    optimizer, _ = Optim(make, lr=1, **keep).build(layer, None, 5)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(layer(x), label)
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    scores = torch.from_numpy(reference.predict_proba(x)).float()
    torch.testing.assert_close(layer(x).softmax(1), scores, atol=1e-4, rtol=1e-3)


def test_sam_takes_the_gradient_at_the_highest_point_around():
    """Foret et al. 2021: w - lr * gradient at w + rho * g / |g|; statistics of batch norm move once."""
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2, bias=False))
    x, y = torch.randn(6, 3), torch.randn(6, 2)
    by_hand = nn.Sequential(
        nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2, bias=False)
    )
    by_hand.load_state_dict(layer.state_dict())
    optimizer, _ = Optim(torch.optim.SGD, lr=0.1, sam=0.3, schedule="constant", warmup=0).build(layer, None, 1)

    def evaluate(net: nn.Module) -> torch.Tensor:
        net.zero_grad()
        loss = functional.mse_loss(net(x), y)
        loss.backward()
        return loss

    torch.manual_seed(1)
    optimizer.step(lambda: evaluate(layer))
    after = torch.get_rng_state()

    torch.manual_seed(1)
    evaluate(by_hand)
    assert torch.equal(after, torch.get_rng_state())
    statistics = by_hand[1].running_mean.clone()
    weights = [p.detach().clone() for p in by_hand.parameters()]
    gradients = [p.grad.clone() for p in by_hand.parameters()]
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    with torch.no_grad():
        for p, g in zip(by_hand.parameters(), gradients, strict=True):
            p += 0.3 * g / norm
    torch.manual_seed(1)
    evaluate(by_hand)
    expected = [w - 0.1 * p.grad for w, p in zip(weights, by_hand.parameters(), strict=True)]
    torch.testing.assert_close([p.detach() for p in layer.parameters()], expected)
    torch.testing.assert_close(layer[1].running_mean, statistics)
    assert not torch.allclose(expected[0], weights[0] - 0.1 * gradients[0])


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"optimizer": torch.optim.LBFGS, "weight_decay": 0.1}, ("LBFGS", "optim.decay", "loss", "optim.weight_decay")),
        ({"optimizer": torch.optim.LBFGS, "decay": "decoupled"}, ("L-BFGS", "optim.decay")),
        ({"optimizer": torch.optim.LBFGS, "sam": 0.1}, ("L-BFGS", "optim.sam")),
        ({"optimizer": torch.optim.SGD, "betas": (0.9, 0.99)}, ("SGD", "optim.betas")),
    ],
)
def test_settings_that_an_optimizer_does_not_have_are_refused(settings, names):
    with refuses(ConfigError, *names):
        Optim(**settings).build(nn.Linear(2, 2), None, 1)


@pytest.mark.parametrize("name", ["l1", "sam"])
def test_negative_penalties_are_refused(name):
    with refuses(ConfigError, f"optim.{name}", -1):
        Optim(**{name: -1.0})
