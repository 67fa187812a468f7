"""Verdicts on synthetic learning curves, with and without noise."""

import numpy as np
import pytest

from callbacks.results.learning_curves import Verdict, most_common, read_curves, verdict

EPOCHS = np.arange(1, 31)


def curves(noise: float = 0.0, seed: int = 0, epochs: np.ndarray = EPOCHS, **values: np.ndarray) -> dict:
    names = {"train": "train/loss_epoch", "val": "val/loss", "fit": "train/accuracy_epoch", "accuracy": "val/accuracy"}
    random = np.random.default_rng(seed)
    noisy = {names[name]: curve[: len(epochs)] + random.normal(0, noise, len(epochs)) for name, curve in values.items()}
    return {name: list(zip(epochs.tolist(), curve.tolist(), strict=True)) for name, curve in noisy.items()}


FALLING = 0.1 + 2 * np.exp(-EPOCHS / 8)
SETTLED = 0.5 + 2 * np.exp(-EPOCHS / 3)
OVERFIT = 0.5 + 1.5 * np.exp(-EPOCHS / 4) + 0.03 * np.maximum(EPOCHS - 10, 0)
RISING = 0.9 - 0.8 * np.exp(-EPOCHS / 20)
FLAT = 0.6 - 0.5 * np.exp(-EPOCHS / 3)


def kind(curves: dict) -> str:
    return verdict(curves, "val/accuracy", "max").kind


@pytest.mark.parametrize("noise", [0, 0.01, 0.03])
@pytest.mark.parametrize(
    ("expected", "values"),
    [
        ("overfitting", {"train": FALLING, "val": OVERFIT, "accuracy": FLAT}),
        ("alike", {"train": SETTLED, "val": SETTLED, "fit": FLAT, "accuracy": FLAT}),
        ("converged", {"train": FALLING, "val": SETTLED, "fit": FLAT + 0.3, "accuracy": FLAT}),
        ("improving", {"train": FALLING, "val": SETTLED, "accuracy": RISING}),
    ],
)
def test_verdicts_hold_under_noise(expected, values, noise):
    found = [kind(curves(noise, seed, **values)) for seed in range(40)]
    assert found.count(expected) >= (40 if noise < 0.03 else 32)


def test_flat_noise_is_seldom_taken_for_more():
    flat = np.full(30, 0.6)
    found = [kind(curves(0.02, seed, train=FALLING, val=flat, fit=flat + 0.3, accuracy=flat)) for seed in range(200)]
    assert found.count("converged") >= 190


def test_overfitting_names_the_epoch_of_the_lowest_loss_with_its_evidence():
    found = verdict(curves(train=FALLING, val=OVERFIT, accuracy=RISING), "val/accuracy", "max")
    assert found.epoch == int(EPOCHS[OVERFIT.argmin()])
    for value in (OVERFIT.min(), OVERFIT[-1], FALLING[found.epoch - 1], FALLING[-1]):
        assert f"{value:.4g}" in found.text
    assert "val/accuracy is still improving" in found.text


def test_a_loss_that_rises_with_that_of_training_is_no_overfitting():
    assert kind(curves(train=OVERFIT, val=OVERFIT, fit=FLAT, accuracy=FLAT)) != "overfitting"


def test_a_monitor_past_its_best_is_named():
    assert verdict(curves(accuracy=-OVERFIT), "val/accuracy", "max").kind == "declining"


def test_a_loss_that_falls_under_a_constant_monitor_is_still_falling():
    found = verdict(curves(train=FALLING, val=FALLING, accuracy=np.full(30, 0.1)), "val/accuracy", "max")
    assert found.kind == "improving" and "val/loss" in found.text


def test_losses_judge_where_they_are_the_monitor():
    assert verdict(curves(train=FALLING, val=FALLING), "val/loss", "min").kind == "improving"
    assert "falling" in verdict(curves(train=FALLING, val=FALLING), "val/loss", "min").text
    assert verdict(curves(train=FALLING, val=OVERFIT), "val/loss", "min").kind == "overfitting"


@pytest.mark.parametrize(("count", "expected"), [(1, "unknown"), (2, "unknown"), (3, "improving"), (5, "improving")])
def test_few_epochs_judge_nothing_or_what_is_plain(count, expected):
    assert kind(curves(epochs=EPOCHS[:count], train=FALLING, val=SETTLED, accuracy=RISING)) == expected


def test_nothing_validated_judges_nothing():
    assert verdict(curves(train=FALLING), "val/accuracy", "max").kind == "unknown"


def test_curves_are_read_from_a_runs_metrics(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(
        "step,epoch,train/loss,train/loss_epoch,val/loss,test/loss\n"
        "3,0,2.5,,,\n4,0,,,2.25,\n7,0,,,2,\n7,0,,1.5,,\n15,1,,,nan,\n15,1,,1.25,,\n16,2,,,1,\n16,2,,,,1\n"
    )
    assert read_curves(path) == {"train/loss_epoch": [(1, 1.5), (2, 1.25)], "val/loss": [(1, 2.0)]}


def test_several_runs_have_the_verdict_that_most_share():
    found = [Verdict("converged", "converged: a"), Verdict("improving", "still rising: b"), Verdict("improving", "c")]
    assert most_common(found[:1]) == "converged: a"
    assert most_common(found) == "2 of 3 runs: still rising: b"


def test_few_epochs_without_a_trend_give_no_verdict():
    curves = {"val/accuracy": [(1, 0.19), (2, 0.13), (3, 0.16)], "val/loss": [(1, 2.26), (2, 2.18), (3, 2.03)]}
    assert verdict(curves, "val/accuracy", "max").kind in ("unknown", "improving")
