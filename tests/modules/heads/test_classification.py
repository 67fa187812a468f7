"""The linear head and its losses against torch, torchvision and values worked out by hand."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from modules.contracts import ConfigError, Features
from modules.heads import Linear, Projection
from modules.losses.classification import focal_loss
from tests.helpers.errors import assert_named, refuses

FEATURES = Features([4, 8], [4, 8])


def batch(count: int = 16, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(count, classes), torch.randint(0, classes, (count,))


def test_linear_is_one_layer_on_pooled_features():
    head, pooled = Linear(FEATURES, 5).eval(), torch.randn(2, 8)
    assert head.pools
    torch.testing.assert_close(head(pooled), pooled @ head.fc.weight.T + head.fc.bias)


def test_linear_drops_pooled_features_in_training_only():
    head, pooled = Linear(FEATURES, 5, dropout=1.0), torch.randn(2, 8)
    torch.testing.assert_close(head.train()(pooled), head.fc.bias.expand(2, 5))
    assert not torch.allclose(head.eval()(pooled), head.fc.bias.expand(2, 5))


@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
def test_probabilities_of_one_class_per_image_are_a_softmax(kind):
    logits, _ = batch()
    expected = logits.exp() / logits.exp().sum(1, keepdim=True)
    torch.testing.assert_close(Linear(FEATURES, 5, loss=kind).probabilities(logits), expected)


def test_probabilities_of_several_classes_at_once_are_independent():
    logits, _ = batch()
    torch.testing.assert_close(Linear(FEATURES, 5, loss="binary").probabilities(logits), 1 / (1 + (-logits).exp()))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 1.0, 3.0]])
def test_cross_entropy_is_that_of_torch(smoothing, weights):
    logits, target = batch()
    head = Linear(FEATURES, 5, label_smoothing=smoothing, class_weights=weights)
    weight = None if weights is None else torch.tensor(weights)
    expected = functional.cross_entropy(logits, target, weight, label_smoothing=smoothing)
    torch.testing.assert_close(head.loss(logits, target), expected)


@pytest.mark.parametrize("kind", ["cross_entropy", "focal", "binary"])
def test_loss_is_computed_in_float32_from_half_precision_logits(kind):
    logits, target = batch()
    head = Linear(FEATURES, 5, loss=kind)
    loss = head.loss(logits.bfloat16(), target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, head.loss(logits.bfloat16().float(), target))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_smooths_toward_one_half_in_each_class(smoothing):
    logits, target = batch(3, 4)
    head = Linear(FEATURES, 4, loss="binary", label_smoothing=smoothing)
    total = 0.0
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        for c, logit in enumerate(row):
            wanted = (c == label) * (1 - smoothing) + smoothing / 2
            p = 1 / (1 + math.exp(-logit))
            total -= wanted * math.log(p) + (1 - wanted) * math.log(1 - p)
    assert head.loss(logits, target).item() == pytest.approx(total / 12, rel=1e-5)


def test_binary_takes_several_classes_per_image():
    logits = torch.randn(3, 5)
    target = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).float()
    expected = -(target * logits.sigmoid().log() + (1 - target) * (1 - logits.sigmoid()).log()).mean()
    torch.testing.assert_close(Linear(FEATURES, 5, loss="binary").loss(logits, target), expected)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"class_weights": [1.0, 2.0]}, ("class_weights", 2, 5)),
        ({"focal_gamma": 3.0}, ("focal_gamma", "cross_entropy", "focal")),
        ({"loss": "binary", "asymmetric_margin": 0.1}, ("asymmetric_margin", "binary", "asymmetric")),
        ({"loss": "focal", "asymmetric_gamma": [1.0, 4.0]}, ("asymmetric_gamma", "focal", "asymmetric")),
        ({"loss": "focal", "label_smoothing": 0.1}, ("label_smoothing", "focal", "cross_entropy")),
        ({"loss": "hinge", "label_smoothing": 0.1}, ("label_smoothing", "hinge", "cross_entropy")),
        ({"smooth_over": "others"}, ("smooth_over", "label_smoothing", 0)),
        ({"loss": "binary", "label_smoothing": 0.1, "smooth_over": "others"}, ("smooth_over", "binary")),
        ({"label_smoothing": 0.9, "smooth_over": "others"}, ("label_smoothing", 0.9, 5, 0.8)),
    ],
)
def test_losses_that_cannot_be_are_refused(settings, names):
    with refuses(ConfigError, *names):
        Linear(FEATURES, 5, **settings)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_smoothing_over_the_others_gives_each_of_them_its_share(loss, smoothing):
    """The true class keeps 1 - eps, each of the other K - 1 gets eps / (K - 1)."""
    logits, target = batch()
    over = {"label_smoothing": smoothing, "smooth_over": "others"} if smoothing else {}
    wanted = torch.full((16, 5), smoothing / 4)
    wanted[torch.arange(16), target] = 1 - smoothing
    log_loss = -(wanted * logits.log_softmax(1)).sum(1)
    expected = log_loss if loss == "cross_entropy" else (logits - wanted).square().sum(1)
    head = Linear(FEATURES, 5, loss=loss, **over)
    torch.testing.assert_close(head.loss(logits, target), expected.mean())


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 1.0, 3.0]])
def test_hinge_is_torchs_times_the_number_of_classes(power, weights):
    logits, target = batch()
    kind = "hinge" if power == 1 else "squared_hinge"
    head = Linear(FEATURES, 5, loss=kind, class_weights=weights)
    weight = torch.ones(5) if weights is None else torch.tensor(weights)
    each = functional.multi_margin_loss(logits, target, p=power, reduction="none")
    expected = 5 * (each * weight[target]).sum() / weight[target].sum()
    torch.testing.assert_close(head.loss(logits, target), expected)


@pytest.mark.parametrize("kind", ["hinge", "squared_hinge"])
def test_hinge_costs_all_other_classes_at_equal_scores_and_nothing_beyond_the_margin(kind):
    head = Linear(FEATURES, 5, loss=kind)
    assert head.chance_loss(5) == 4
    assert head.loss(2.0 * torch.eye(5), torch.arange(5)).item() == 0
    by_hand = {"hinge": 2.9, "squared_hinge": 2.9**2}[kind]  # of CS231n's cat, car and frog
    scores = torch.tensor([[3.2, 5.1, -1.7, -9.0, -9.0]])
    assert head.loss(scores, torch.tensor([0])).item() == pytest.approx(by_hand, rel=1e-5)


def test_squared_error_is_that_of_one_hot_targets_and_least_at_the_probabilities():
    logits, target = batch()
    head = Linear(FEATURES, 5, loss="squared_error")
    expected = 5 * functional.mse_loss(logits, functional.one_hot(target, 5).float())
    torch.testing.assert_close(head.loss(logits, target), expected)
    shared = torch.tensor([[0.5, 0.25, 0.25, 0.0, 0.0]], requires_grad=True)
    head.loss(shared.expand(4, 5), torch.tensor([0, 0, 1, 2])).backward()
    torch.testing.assert_close(shared.grad, torch.zeros(1, 5))


@pytest.mark.parametrize("kind", ["hinge", "squared_hinge", "squared_error", "cross_entropy", "focal"])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 1.0, 3.0]])
def test_losses_take_one_hot_probabilities_and_weigh_single_samples_by_their_class(kind, weights):
    logits, target = batch()
    head = Linear(FEATURES, 5, loss=kind, class_weights=weights)
    hot = functional.one_hot(target, 5).float()
    weight = torch.ones(5) if weights is None else torch.tensor(weights)
    torch.testing.assert_close(head.loss(logits, hot), head.loss(logits, target) * weight[target].mean())
    plain = Linear(FEATURES, 5, loss=kind)
    torch.testing.assert_close(plain.loss(logits, 0.3 * hot + 0.14), _expected(plain, logits, 0.3 * hot + 0.14))


def _expected(head: Linear, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Losses that are linear in the target, averaged over classes; a squared error by its formula."""
    if head.kind == "squared_error":
        return (logits - target).square().sum(1).mean()
    columns = [head.loss(logits[i : i + 1], torch.tensor([c])) for i in range(len(logits)) for c in range(5)]
    return (torch.stack(columns).view(-1, 5) * target).sum(1).mean()


@pytest.mark.parametrize("kind", ["cross_entropy", "squared_error", "binary", "focal", "hinge"])
def test_validation_and_test_are_without_smoothing_and_class_weights(kind):
    logits, target = batch()
    smoothing = 0.2 if kind in ("cross_entropy", "squared_error", "binary") else 0.0
    head = Linear(FEATURES, 5, loss=kind, label_smoothing=smoothing, class_weights=[1.0, 2.0, 0.5, 1.0, 3.0])
    plain = Linear(FEATURES, 5, loss=kind)
    torch.testing.assert_close(head.eval_loss(logits, target), plain.loss(logits, target))
    assert not torch.allclose(head.loss(logits, target), plain.loss(logits, target))
    assert_named(head.eval_protocol, "without", "class weights")
    assert plain.eval_protocol == f"{plain.loss_name}, as in training"


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 1.0, 3.0]])
@pytest.mark.parametrize("soft", [False, True], ids=["classes", "mixed"])
def test_focal_without_focus_is_cross_entropy(weights, soft):
    logits, target = batch()
    target = torch.rand(16, 5).softmax(1) if soft else target
    weight = None if weights is None else torch.tensor(weights)
    expected = functional.cross_entropy(logits, target, weight)
    torch.testing.assert_close(focal_loss(logits, target, 0.0, weight), expected)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_over_two_classes_is_torchvisions_over_their_difference(gamma):
    logits, target = batch(classes=2)
    difference = logits[:, 1] - logits[:, 0]
    expected = sigmoid_focal_loss(difference, target.float(), alpha=-1, gamma=gamma, reduction="mean")
    torch.testing.assert_close(focal_loss(logits, target, gamma), expected)


def test_focal_fades_samples_that_are_already_right():
    logits = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log()
    expected = (0.1**2 * -math.log(0.9) + 0.8**2 * -math.log(0.2)) / 2
    assert focal_loss(logits, torch.tensor([0, 0]), 2.0).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("hidden", "layers", "widths"), [(0, 2, [8, 8, 16]), (12, 3, [8, 12, 12, 16]), (0, 1, [8, 16])]
)
def test_projection_has_the_asked_layers(hidden, layers, widths):
    head = Projection(FEATURES, 16, hidden=hidden, layers=layers)
    linear = [m for m in head.modules() if isinstance(m, torch.nn.Linear)]
    assert [linear[0].in_features, *[m.out_features for m in linear]] == widths
    assert head(torch.randn(2, 8)).shape == (2, 16)


def test_a_projection_without_norm_is_linear_layers_with_relu_and_biases():
    head, pooled = Projection(FEATURES, 16, layers=2, norm=False), torch.randn(2, 8)
    first, relu, last = head.mlp
    assert isinstance(relu, torch.nn.ReLU)
    torch.testing.assert_close(head(pooled), last((first.weight @ pooled.T).T.add(first.bias).clamp_min(0)))


@pytest.mark.parametrize("rule", ["auto", "median_frequency"])
def test_automatic_weights_divide_the_median_count_by_the_classs_own_and_travel_with_the_weights(rule):
    head, other = (Linear(Features([4], [32]), 3, class_weights=rule) for _ in range(2))
    head.balance(lambda: np.array([80, 20, 10]))
    assert head.class_weights.tolist() == pytest.approx([0.25, 1.0, 2.0])
    other.load_state_dict(head.state_dict())
    logits, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 2, 0])
    expected = functional.cross_entropy(logits, target, torch.tensor([0.25, 1.0, 2.0]))
    torch.testing.assert_close(other.loss(logits, target), expected)


def test_without_a_rule_nobody_is_asked_for_counts_and_checkpoints_stay_as_they_were():
    head = Linear(Features([4], [32]), 3, class_weights=[1.0, 2.0, 3.0])
    head.balance(lambda: 1 / 0)
    assert set(head.state_dict()) == {"fc.weight", "fc.bias"}
