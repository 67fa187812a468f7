"""Segmentation losses against torch, segmentation_models.pytorch, scikit-learn and closed forms."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from segmentation_models_pytorch.losses import (
    DiceLoss,
    JaccardLoss,
    LovaszLoss,
    SoftCrossEntropyLoss,
    TverskyLoss,
)
from segmentation_models_pytorch.losses._functional import softmax_focal_loss_with_logits
from sklearn.metrics import f1_score, jaccard_score
from torch import Tensor
from torch.nn import functional

from modules.contracts import IGNORE, ConfigError, DataError
from modules.losses.classification import focal_loss
from modules.losses.segmentation import (
    TERMS,
    SegmentationLoss,
    class_weights,
    cross_entropy,
    dice,
    focal,
    jaccard,
    lovasz,
    ohem,
    tversky,
)
from tests.helpers.errors import refuses

CLASSES = 5
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 0.0, 3.0])
LOSSES = {name: SegmentationLoss({name: 1.0}) for name in TERMS}


def batch(missing: tuple[int, ...] = (), void: bool = True) -> tuple[Tensor, Tensor]:
    """Logits (2, 5, 12, 9) and a target that shows all classes but those missing, a tenth of it void."""
    target = torch.randint(0, CLASSES, (2, 12, 9))
    for c in missing:
        target[target == c] = (c + 1) % CLASSES
    if void:
        target[torch.rand(target.shape) < 0.1] = IGNORE
    return torch.randn(2, CLASSES, 12, 9), target


def certain(labels: Tensor) -> Tensor:
    """Logits that leave no doubt."""
    return 100.0 * functional.one_hot(labels, CLASSES).movedim(-1, 1).float()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["even", "weighted"])
def test_cross_entropy_is_that_of_torch(weight, smoothing):
    logits, target = batch()
    expected = functional.cross_entropy(logits, target, weight, ignore_index=IGNORE, label_smoothing=smoothing)
    torch.testing.assert_close(cross_entropy(logits, target, weight, smoothing), expected)


def test_cross_entropy_starts_at_the_logarithm_of_the_number_of_classes():
    _, target = batch()
    assert cross_entropy(torch.zeros(2, CLASSES, 12, 9), target).item() == pytest.approx(math.log(CLASSES), rel=1e-6)


def test_label_smoothing_is_that_of_smp():
    logits, target = batch(void=False)
    torch.testing.assert_close(
        cross_entropy(logits, target, label_smoothing=0.1), SoftCrossEntropyLoss(smooth_factor=0.1)(logits, target)
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (dice, DiceLoss("multiclass", ignore_index=IGNORE)),
        (jaccard, JaccardLoss("multiclass", ignore_index=IGNORE)),
        (tversky, TverskyLoss("multiclass", ignore_index=IGNORE, alpha=0.3, beta=0.7)),
    ],
    ids=["dice", "jaccard", "tversky"],
)
def test_region_losses_are_those_of_smp_but_for_the_number_of_classes_they_divide_by(ours, theirs):
    logits, target = batch()
    torch.testing.assert_close(ours(logits, target), theirs(logits, target), atol=1e-5, rtol=0)
    logits, target = batch(missing=(1, 3))
    torch.testing.assert_close(ours(logits, target) * 3 / CLASSES, theirs(logits, target), atol=1e-5, rtol=0)


@pytest.mark.parametrize("missing", [(), (1, 3)], ids=["all classes", "some classes"])
def test_lovasz_and_its_gradient_are_those_of_smp(missing):
    logits, target = batch(missing)
    mine, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    lovasz(mine, target).backward()
    expected = LovaszLoss("multiclass", ignore_index=IGNORE)(theirs, target)
    expected.backward()
    torch.testing.assert_close(lovasz(logits, target), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("loss", "score"), [(dice, f1_score), (jaccard, jaccard_score), (lovasz, jaccard_score)], ids=lambda f: f.__name__
)
def test_region_losses_of_certain_maps_are_one_minus_the_score_of_the_whole_batch(loss, score):
    _, target = batch(missing=(1,))
    said = torch.randint(0, CLASSES, target.shape)
    labeled = target != IGNORE
    expected = 1 - score(target[labeled], said[labeled], labels=[0, 2, 3, 4], average="macro")
    assert loss(certain(said), target).item() == pytest.approx(expected, abs=1e-5)


def test_tversky_weighs_false_positives_by_alpha_and_false_negatives_by_beta():
    target, said = torch.tensor([[[0, 0, 0, 1]]]), torch.tensor([[[0, 1, 1, 1]]])
    expected = 1 - (1 / (1 + 0.6 * 2) + 1 / (1 + 0.2 * 2)) / 2
    assert tversky(certain(said), target, alpha=0.2, beta=0.6).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_is_that_of_smp_over_a_softmax(gamma):
    logits, target = batch()
    theirs = softmax_focal_loss_with_logits(logits, target.masked_fill(target == IGNORE, -100), gamma, "sum")
    torch.testing.assert_close(focal(logits, target, gamma), theirs / (target != IGNORE).sum())


def test_weighted_focal_is_that_of_classification_with_pixels_as_samples():
    logits, target = batch()
    labeled = target != IGNORE
    expected = focal_loss(logits.movedim(1, -1)[labeled], target[labeled], 1.5, WEIGHT)
    torch.testing.assert_close(focal(logits, target, 1.5, WEIGHT), expected)


def test_focal_with_a_gamma_below_one_has_a_gradient_at_certain_pixels():
    _, target = batch()
    logits = certain(target.where(target != IGNORE, 0)).requires_grad_()
    (focal(logits, target, 0.5) + focal_loss(logits[0, :, 0].T, target[0, 0].clamp(max=4), 0.5)).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("hardest", [0.001, 0.25, 0.9])
def test_ohem_is_the_mean_over_the_hardest_share_of_labeled_pixels(hardest):
    logits, target = batch()
    losses = functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")[target != IGNORE]
    kept = math.ceil(hardest * len(losses))
    expected = np.sort(losses.numpy())[::-1][:kept].mean()
    assert ohem(logits, target, hardest).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["even", "weighted"])
def test_ohem_of_all_pixels_is_cross_entropy(weight):
    logits, target = batch()
    torch.testing.assert_close(ohem(logits, target, 1.0, weight, 0.1), cross_entropy(logits, target, weight, 0.1))


def test_ohem_sends_no_gradient_to_easy_pixels():
    logits, target = batch(void=False)
    logits[0] += certain(target)[0]
    logits.requires_grad_()
    ohem(logits, target, 0.5).backward()
    assert (logits.grad[0] == 0).all()
    assert (logits.grad[1] != 0).any(0).all()


@pytest.mark.parametrize("name", TERMS)
def test_ignored_pixels_take_no_part(name):
    logits, target = batch()
    void = (target == IGNORE)[:, None].expand_as(logits)
    logits.requires_grad_()
    value, _ = LOSSES[name].compute(logits, target)
    value.backward()
    assert (logits.grad[void] == 0).all()
    assert (logits.grad[~void] != 0).any()
    torch.testing.assert_close(LOSSES[name].compute(logits.where(~void, 50.0), target)[0], value)
    padded = functional.pad(logits, (0, 4, 0, 2), value=9.0), functional.pad(target, (0, 4, 0, 2), value=IGNORE)
    torch.testing.assert_close(LOSSES[name].compute(*padded)[0], value)


@pytest.mark.parametrize("weight", [None, torch.ones(CLASSES)], ids=["even", "weighted"])
@pytest.mark.parametrize("name", TERMS)
def test_nothing_but_ignored_pixels_gives_zero_with_a_gradient_of_zeros(name, weight):
    logits = torch.randn(2, CLASSES, 6, 6, requires_grad=True)
    value, _ = LOSSES[name].compute(logits, torch.full((2, 6, 6), IGNORE), weight)
    value.backward()
    assert value.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("name", TERMS)
def test_losses_of_half_precision_logits_are_computed_in_float32(name, autocast):
    logits, target = batch()
    half = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        value, _ = LOSSES[name].compute(half, target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, LOSSES[name].compute(half.float(), target)[0])


@pytest.mark.parametrize("name", TERMS)
def test_a_step_against_the_gradient_lowers_the_loss(name):
    logits, target = batch()
    logits.requires_grad_()
    value, _ = LOSSES[name].compute(logits, target)
    value.backward()
    with torch.no_grad():
        assert LOSSES[name].compute(logits - logits.grad, target)[0] < value


def test_median_frequency_divides_the_median_frequency_by_the_classs_own():
    # frequencies 1/2, 1/4, 1/10 where shown; the last class never occurs
    weights = class_weights(np.array([500, 100, 20, 0]), np.array([1000, 400, 200, 0]), "median_frequency")
    torch.testing.assert_close(weights, torch.tensor([0.5, 1.0, 2.5, 0.0]))


def test_enet_weights_are_the_inverse_logarithm_of_the_share_of_pixels():
    weights = class_weights(np.array([750, 250, 0]), np.array([1000, 500, 0]), "enet")
    torch.testing.assert_close(weights, torch.tensor([1 / math.log(1.77), 1 / math.log(1.27), 0.0]))


def test_class_weights_without_a_labeled_pixel_are_refused():
    with refuses(DataError, "class_weights", "enet"):
        class_weights(np.zeros(3, int), np.zeros(3, int), "enet")


def test_terms_are_summed_by_their_factors_and_returned_by_name():
    logits, target = batch()
    loss = SegmentationLoss({"cross_entropy": 1, "dice": 0.5, "lovasz": 0}, label_smoothing=0.1)
    total, terms = loss.compute(logits.requires_grad_(), target, WEIGHT)
    expected = {
        "cross_entropy": cross_entropy(logits, target, WEIGHT, 0.1),
        "dice": dice(logits, target),
        "lovasz": lovasz(logits, target),
    }
    torch.testing.assert_close(terms, {name: value.detach() for name, value in expected.items()})
    torch.testing.assert_close(total, expected["cross_entropy"] + 0.5 * expected["dice"])
    assert total.requires_grad
    assert not any(term.requires_grad for term in terms.values())


def test_settings_reach_the_term_they_belong_to():
    logits, target = batch()
    for loss, expected in (
        (SegmentationLoss({"focal": 1}, gamma=0.7), focal(logits, target, 0.7, WEIGHT)),
        (SegmentationLoss({"tversky": 1}, alpha=0.1, beta=0.6), tversky(logits, target, 0.1, 0.6)),
        (SegmentationLoss({"ohem": 1}, None, 0.2, hardest=0.1), ohem(logits, target, 0.1, WEIGHT, 0.2)),
        (SegmentationLoss({"jaccard": 1}), jaccard(logits, target)),
    ):
        torch.testing.assert_close(loss.compute(logits, target, WEIGHT)[0], expected)


def test_weights_come_from_the_list_or_from_the_counts_of_the_training_masks():
    def counts():
        return np.array([500, 100, 20]), np.array([1000, 400, 200])

    def unasked():
        raise AssertionError("counting takes a pass over the masks")

    assert SegmentationLoss().weights(3, unasked) is None
    assert SegmentationLoss(class_weights=[1, 2, 3]).weights(3, unasked).tolist() == [1, 2, 3]
    found = SegmentationLoss(class_weights="median_frequency").weights(3, counts)
    torch.testing.assert_close(found, torch.tensor([0.5, 1.0, 2.5]))


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"terms": {"dcie": 1.0}}, ("loss.terms", "dcie", "'dice'")),
        ({"terms": {}}, ("loss.terms", {})),
        ({"terms": {"dice": 0.0}}, ("loss.terms", {"dice": 0.0})),
        ({"terms": {"dice": -1.0, "focal": 2.0}}, ("loss.terms", {"dice": -1.0, "focal": 2.0})),
        ({"label_smoothing": 1.5}, ("loss.label_smoothing", 1.5)),
        ({"terms": {"focal": 1.0}, "gamma": -1.0}, ("loss.gamma", -1.0)),
        ({"terms": {"ohem": 1.0}, "hardest": 0.0}, ("loss.hardest", 0.0)),
        ({"gamma": 3.0}, ("loss.gamma", "focal", "loss.terms")),
        ({"terms": {"dice": 1.0}, "class_weights": "enet"}, ("loss.class_weights", "cross_entropy", "focal", "ohem")),
        ({"terms": {"dice": 1.0}, "label_smoothing": 0.1}, ("loss.label_smoothing", "cross_entropy", "ohem")),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, names):
    with refuses(ConfigError, *names):
        SegmentationLoss(**settings)


@pytest.mark.parametrize(
    ("weights", "values"),
    [
        ([1.0, 2.0], (2, 3)),
        ([1.0, -1.0, 1.0], ([1.0, -1.0, 1.0],)),
        ([0.0, 0.0, 0.0], ([0.0, 0.0, 0.0],)),
    ],
)
def test_class_weights_that_do_not_fit_the_classes_are_refused(weights, values):
    with refuses(ConfigError, "loss.class_weights", *values):
        SegmentationLoss(class_weights=weights).check(3)


class Configurable:
    """Base class known to the parser, as tasks.Task is."""


class Trained(Configurable):
    """A configurable class with a loss, as a task is.

    Args:
        loss: what it is trained with.
    """

    def __init__(self, loss: SegmentationLoss = SegmentationLoss()):
        self.loss = loss


def parsed(*argv: str) -> SegmentationLoss:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(Configurable, "model")
    return parser.instantiate(parser.parse_args(["--model", f"{__name__}.Trained", *argv])).model.loss


@pytest.fixture
def config(tmp_path) -> list[str]:
    path = Path(tmp_path) / "config.yaml"
    loss = "{terms: {cross_entropy: 1, dice: 1}, class_weights: median_frequency}"
    path.write_text(f"model:\n  class_path: {__name__}.Trained\n  init_args:\n    loss: {loss}\n")
    return ["--config", str(path)]


def test_yaml_holds_the_terms_in_one_line(config):
    expected = SegmentationLoss({"cross_entropy": 1.0, "dice": 1.0}, class_weights="median_frequency")
    assert parsed(*config) == expected


def test_terms_typed_as_a_whole_replace_those_before(config):
    assert parsed("--model.loss.terms", "{dice: 1}") == SegmentationLoss({"dice": 1.0})
    typed = parsed(*config, "--model.loss.terms", "{focal: 2}", "--model.loss.gamma", "3")
    assert typed == SegmentationLoss({"focal": 2.0}, class_weights="median_frequency", gamma=3.0)


def test_one_term_typed_joins_those_of_the_yaml_but_replaces_the_default(config):
    assert parsed("--model.loss.terms.dice", "1") == SegmentationLoss({"dice": 1.0})
    typed = parsed(*config, "--model.loss.terms.dice", "3", "--model.loss.terms.focal", "1")
    assert typed == replace(parsed(*config), terms={"cross_entropy": 1.0, "dice": 3.0, "focal": 1.0})


def test_class_weights_can_be_typed_as_numbers():
    assert parsed("--model.loss.class_weights", "[1, 2, 0.5]").class_weights == [1.0, 2.0, 0.5]


def test_a_misspelt_term_on_the_command_line_is_a_config_error():
    with refuses(ValueError, "loss.terms", "'lovas'", "'lovasz'") as caught:
        parsed("--model.loss.terms", "{lovas: 1}")
    error = caught.value
    while error is not None and not isinstance(error, ConfigError):
        error = error.__cause__ or error.__context__
    assert isinstance(error, ConfigError)


@pytest.mark.gpu
@pytest.mark.parametrize("name", TERMS)
def test_losses_on_a_gpu_are_those_of_the_cpu_without_the_host_waiting(name):
    logits, target = batch()
    expected, _ = LOSSES[name].compute(logits, target, WEIGHT)
    logits, target, weight = logits.cuda().requires_grad_(), target.cuda(), WEIGHT.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        value, _ = LOSSES[name].compute(logits, target, weight)
        value.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(value.cpu(), expected.detach())
