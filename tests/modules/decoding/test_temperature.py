"""Temperature scaling of probabilities."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from commands.export.other_samples import tempered
from modules.decoding.temperature import fit_temperature, scaled


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_the_temperature_that_spoiled_calibrated_scores_is_found(temperature):
    random = np.random.default_rng(0)
    logits = random.normal(size=(20_000, 4)) * 2
    labels = (softmax(logits, 1).cumsum(1) > random.random((20_000, 1))).argmax(1)
    assert fit_temperature(softmax(logits * temperature, 1), labels) == pytest.approx(temperature, rel=0.05)


def test_scaled_probabilities_are_those_of_scaled_logits():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(scaled(logits.softmax(1), 2.5), (logits / 2.5).softmax(1), atol=1e-6)
    scores = torch.tensor([[1.0, 0.0]])
    assert scaled(scores, 1.0) is scores and scaled(scores, 2.0).isfinite().all()


def test_files_of_videos_scale_as_the_task_does():
    scores = torch.rand(6, generator=torch.Generator().manual_seed(0)).softmax(0)
    assert tempered(scores.numpy(), 3.0) == pytest.approx(scaled(scores[None], 3.0)[0].numpy(), abs=1e-6)
