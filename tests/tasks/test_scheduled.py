"""Epochs of schedules in trainings that count epochs, steps or accumulated batches."""

import pytest
import torch
from torch.utils.data import DataLoader

from modules.training.optim import Optim
from tasks import Classification
from tests.helpers.training import quiet


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_epochs": 3}, [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]),
        ({"max_steps": 7}, [1, 1, 1, 0.5, 0.5, 0.5, 0.25]),
        ({"max_epochs": 3, "accumulate_grad_batches": 2}, [1, 1, 0.5, 0.5, 0.25, 0.25]),
        ({"max_epochs": 3, "limit_train_batches": 2}, [1, 1, 0.5, 0.5, 0.25, 0.25]),
    ],
    ids=["epochs", "steps", "an incomplete step ends an epoch", "fewer batches"],
)
def test_a_period_is_an_epoch_of_optimizer_steps(settings, expected):
    optim = Optim(lr=1e-3, schedule="step", period=1, gamma=0.5, warmup=0.0)
    task, seen = Classification(classes=["a", "b"], backbone="test_resnet", optim=optim), []
    task.on_before_optimizer_step = lambda optimizer: seen.append(optimizer.param_groups[0]["lr"] / 1e-3)
    batch = {"image": torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "label": torch.tensor([0, 1])}
    quiet(**settings).fit(task, DataLoader([batch] * 3, batch_size=None, collate_fn=dict))
    assert seen == pytest.approx(expected)
