"""The learning-rate range test beside the training itself."""

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from callbacks import LearningRateRangeTest
from callbacks.figures.lr_finder import lr_finder
from callbacks.random_state import read_state
from modules.heads import FullyConnected
from modules.training.optim import Optim
from tasks import Classification, MoCo
from tests.helpers.training import quiet

STEPS = 6
RATE = Optim(lr=0.01, schedule="constant", warmup=0.0, weight_decay=0.1)


def batches(count: int) -> DataLoader:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 8, 3, 32, 32), dtype=torch.uint8, generator=random)
    made = [{"image": image, "views": [image, image.flip(3)], "label": torch.arange(8) % 4} for image in images]
    return DataLoader(made, batch_size=None, collate_fn=dict, generator=torch.Generator())  # as of data modules


def classification() -> Classification:
    torch.manual_seed(0)
    head = lambda features, outputs: FullyConnected(features, outputs, (32,), dropout=0.5)  # noqa: E731
    return Classification(classes=list("abcd"), backbone="test_resnet", head=head, optim=RATE)


class Watch(L.Callback):
    """Weights, buffers and random state at the start of the training, and the loss of each optimizer step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_start(self, trainer, pl_module):
        self.start = {name: value.clone() for name, value in pl_module.state_dict().items()}
        self.random = read_state()["torch"]

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].item())


@pytest.mark.parametrize("accumulated", [1, 2])
def test_each_step_is_that_of_the_training(tmp_path, accumulated):
    test, watch = LearningRateRangeTest(STEPS, 0.01, 0.01), Watch()
    seen = []
    measure = test.test
    test.test = lambda trainer, task: seen.extend(measure(trainer, task)) or seen
    settings = {"accumulate_grad_batches": accumulated, "default_root_dir": tmp_path, "callbacks": [test, watch]}
    quiet(max_steps=STEPS, **settings).fit(classification(), batches(STEPS * accumulated))
    parts = torch.tensor(watch.losses).unflatten(0, (STEPS, accumulated))
    torch.testing.assert_close(torch.tensor(seen), parts.sum(1), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "make",
    [classification, lambda: MoCo(backbone="test_resnet", optim=RATE, queue_size=32, embed_dim=16)],
    ids=["dropout and batch norm", "teacher and queue"],
)
def test_the_training_starts_as_without_the_test(tmp_path, make):
    starts, losses = [], []
    for extra in ([], [LearningRateRangeTest(12, 1e-4, 1.0)]):
        torch.manual_seed(1)
        task, watch = make(), Watch()
        torch.manual_seed(2)
        quiet(max_steps=2, callbacks=[*extra, watch], default_root_dir=tmp_path).fit(task, batches(2))
        starts.append({**watch.start, "random state": watch.random})
        losses.append(watch.losses)
    assert all(value.equal(starts[1][name]) for name, value in starts[0].items())
    assert losses[0][0] == losses[1][0]


def test_the_suggestion_scales_all_layers(tmp_path):
    task = classification()
    task.optim = Optim(lr=0.01, backbone=0.1, schedule="constant", warmup=0.0)
    test = LearningRateRangeTest(40, 1e-4, 10.0)
    trainer = quiet(max_steps=1, callbacks=[test], default_root_dir=tmp_path)
    trainer.fit(task, batches(2))
    assert test.found is not None
    rates = sorted({group["lr"] for group in trainer.optimizers[0].param_groups})
    assert rates == pytest.approx([0.1 * test.found, test.found])
    assert task.hparams["optim"].lr == test.found
    assert str(test.found) in test.startup_lines(trainer)[0]
    assert (tmp_path / "figures/lr_finder.png").is_file()


def test_the_figure_takes_a_test_that_diverged_or_found_nothing():
    rates = [10**exponent for exponent in range(-6, 0)]
    for losses, found in (([2.0, 2.1, 1.9, 2.0, 2.0, float("inf")], 0.001), ([2.0] * 6, None)):
        assert lr_finder(rates, losses, found, 0.01).shape == (460, 760, 3)
