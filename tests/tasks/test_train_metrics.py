"""Means over the epochs of a training, across steps and checkpoints."""

import pytest
import torch
from torch.utils.data import DataLoader

from modules.training.optim import Optim
from tasks import Classification
from tests.helpers.training import quiet

CLASSES = ["cat", "dog", "cow"]


def classification(**settings) -> Classification:
    return Classification(classes=CLASSES, backbone="test_vit", optim=Optim(lr=1e-3), **settings)


def batches(sizes: tuple[int, ...]) -> DataLoader:
    made = [
        {"image": torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8), "label": torch.arange(n) % 3} for n in sizes
    ]
    return DataLoader(made, batch_size=None, collate_fn=dict)


def test_loss_and_accuracy_of_an_epoch_are_means_over_its_samples():
    task, kept = classification(), []
    log_step = task.log_step
    task.log_step = lambda values, count: kept.append((values, count)) or log_step(values, count)
    trainer = quiet(max_epochs=1, log_every_n_steps=10)
    trainer.fit(task, batches((6, 6, 3)))
    assert [count for _, count in kept] == [6, 6, 3]
    for name in ("loss", "accuracy"):
        mean = sum(values[name].item() * count for values, count in kept) / 15
        assert trainer.callback_metrics[f"train/{name}_epoch"].item() == pytest.approx(mean)


def test_mixed_labels_have_no_accuracy():
    trainer = quiet(max_epochs=1)
    trainer.fit(classification(mixup=0.5), batches((6, 6)))
    assert "train/loss_epoch" in trainer.callback_metrics
    assert "train/accuracy_epoch" not in trainer.callback_metrics


def test_sums_of_an_epoch_survive_a_checkpoint():
    first, second, checkpoint = classification(), classification(), {}
    first.train_means.update({"loss": 1.0}, 3)
    first.on_save_checkpoint(checkpoint)
    second.on_load_checkpoint(checkpoint | {"state_dict": first.state_dict()})
    for task in (first, second):
        task.train_means.update({"loss": 0.3}, 1)
    assert first.train_means.compute() == second.train_means.compute() == {"loss": pytest.approx(3.3 / 4)}
