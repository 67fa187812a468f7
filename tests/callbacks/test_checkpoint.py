"""Checkpoints: `best.ckpt` holds the validated weights, averaged weights are saved."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging
from torch import Tensor, nn

from callbacks import Checkpoint, Counts, checkpoint
from callbacks.stochastic_weight_averaging import AveragingAfterTraining
from tests.helpers.errors import line_naming, warnings_of
from tests.helpers.small_task import Data, Task


class Scripted(Task):
    """Task with given validation scores that records its weights at each."""

    monitor, mode, fallback = "val/score", "max", "val/loss"
    protocols: dict[str, str] = {}

    def __init__(self, scores: list[float], norm: bool = True) -> None:
        super().__init__()
        self.scores, self.seen = scores, []
        if not norm:
            self.backbone.layers[1] = nn.Identity()

    def validation_step(self, batch: dict, batch_idx: int) -> dict[str, Tensor]:
        if batch_idx == 0:
            self.seen.append({name: value.clone() for name, value in self.state_dict().items()})
        return super().validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        self.log("val/score", self.scores[len(self.seen) - 1])
        self.log("val/loss", 1.0 / len(self.seen))


@pytest.fixture
def trainer(trainer):
    """Trainer without a validation before the training."""

    def make(*callbacks, **settings) -> Trainer:
        return trainer(*callbacks, num_sanity_val_steps=0, **settings)

    return make


def saved(folder: Path, name: str) -> dict:
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("scores", [[0.9, 0.1, 0.1, 0.1], [0.1, 0.9, 0.1, 0.1], [0.1, 0.1, 0.1, 0.9]])
def test_best_holds_the_weights_that_were_scored_also_within_an_epoch(trainer, tmp_path, scores):
    task, keeper = Scripted(scores), Checkpoint()
    trainer(keeper, max_epochs=2, val_check_interval=0.4, limit_train_batches=5).fit(task, datamodule=Data())
    best = scores.index(0.9)
    assert len(task.seen) == 4
    assert same(saved(tmp_path, "best")["state_dict"], task.seen[best])
    assert keeper.best.metrics["val/score"] == pytest.approx(0.9) and keeper.best.step == [2, 4, 7, 9][best]


def test_a_run_goes_on_from_a_best_checkpoint_within_an_epoch(trainer, tmp_path):
    def run(**more) -> Scripted:
        task = Scripted([0.1, 0.9, 0.2, 0.3, 0.4])
        settings = {"max_epochs": 2, "val_check_interval": 2, "limit_train_batches": 4}
        trainer(Checkpoint(), **settings).fit(task, datamodule=Fixed(), **more)
        return task

    class Fixed(Data):
        def train_dataloader(self):
            return self.plain_dataloader("train")

    whole = run()
    path = tmp_path / "checkpoints" / "best.ckpt"
    path = path.rename(path.with_name("kept.ckpt"))
    assert torch.load(path, weights_only=True)["global_step"] == 4
    assert run(ckpt_path=path, weights_only=True).state_dict().keys() == whole.state_dict().keys()
    assert saved(tmp_path, "last")["global_step"] == 8


def test_best_weights_that_are_gone_are_said_and_chosen_anew(trainer, tmp_path):
    trainer(Checkpoint(), max_epochs=2).fit(Scripted([0.9, 0.1]), datamodule=Data())
    (tmp_path / "checkpoints" / "best.ckpt").unlink()
    keeper, task = Checkpoint(), Scripted([0.5, 0.2])
    with warnings_of(checkpoint) as said:
        path = tmp_path / "checkpoints" / "last.ckpt"
        trainer(keeper, max_epochs=4).fit(task, datamodule=Data(), ckpt_path=path, weights_only=True)
    line_naming(said, "epoch 1", path)
    assert keeper.best.epoch == 2 and keeper.selection.best == pytest.approx(0.5)
    assert same(saved(tmp_path, "best")["state_dict"], task.seen[0])


def test_a_constant_monitor_keeps_the_lowest_loss_and_knows_it(trainer, tmp_path):
    task, keeper = Scripted([0.0] * 3), Checkpoint()
    trainer(keeper, max_epochs=3).fit(task, datamodule=Data())
    assert same(saved(tmp_path, "best")["state_dict"], task.seen[2]) and keeper.selection.constant


@pytest.mark.parametrize("norm", [True, False])
def test_stochastic_weight_averages_are_kept_and_no_epoch_is_added(trainer, tmp_path, norm):
    def fit(epochs: int, **more) -> StochasticWeightAveraging:
        swa = AveragingAfterTraining(StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1))
        trainer(swa, Checkpoint(), max_epochs=epochs).fit(task, datamodule=Data(), **more)
        return swa

    task = Scripted([0.1] * 6, norm)
    for epochs, resumed in ((3, {}), (4, {"ckpt_path": tmp_path / "checkpoints" / "last.ckpt", "weights_only": True})):
        swa = fit(epochs, **resumed)
        last, averaged = saved(tmp_path, "last"), saved(tmp_path, "averaged")
        assert last["epoch"] == averaged["epoch"] == epochs - 1 and len(task.seen) == epochs
        assert swa.n_averaged == epochs and same(last["state_dict"], task.seen[-1])
        found = averaged["state_dict"]
        assert same(found, task.state_dict()) and not same(found, last["state_dict"])
        average = dict(swa._average_model.named_parameters())
        assert all(torch.equal(found[name], value) for name, value in average.items())


def test_batch_norms_measure_the_training_samples_under_the_averaged_weights(trainer, tmp_path):
    task = Scripted([0.1] * 2)
    swa = AveragingAfterTraining(StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1))
    run = trainer(swa, Checkpoint(), max_epochs=2)
    run.fit(task, datamodule=Data())
    norm = task.backbone.layers[1]
    assert norm.num_batches_tracked == run.num_training_batches and norm.momentum == 0.1
    assert norm.running_mean.abs().sum() > 0


def test_averages_that_were_not_reached_are_said(trainer, tmp_path):
    swa = StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1)
    with warnings_of(checkpoint) as said:
        trainer(swa, Checkpoint(), max_epochs=9, max_steps=8).fit(Scripted([0.1] * 9), datamodule=Data())
    line_naming(said, "StochasticWeightAveraging")
    assert not (tmp_path / "checkpoints" / "averaged.ckpt").exists()


def test_exponential_averages_are_what_is_judged_and_saved(trainer, tmp_path):
    task, average = Scripted([0.1, 0.9]), EMAWeightAveraging(decay=0.9)
    trainer(average, Checkpoint(), max_epochs=2).fit(task, datamodule=Data())
    best = saved(tmp_path, "best")
    assert same(best["state_dict"], task.seen[1]) and not same(best["current_model_state"], task.seen[1])


def test_metrics_of_an_earlier_validation_are_not_taken_for_those_of_a_later_one(trainer):
    class Rare(Scripted):
        def on_validation_epoch_end(self) -> None:
            if len(self.seen) == 1:
                self.log("val/rare", 1.0)
            super().on_validation_epoch_end()

    keeper = Checkpoint()
    trainer(keeper, max_epochs=2).fit(Rare([0.1, 0.9]), datamodule=Data())
    assert "val/rare" not in keeper.best.metrics


@pytest.mark.parametrize(("limit", "count"), [({}, 20), ({"limit_test_batches": 2}, 16), ({"fast_dev_run": True}, 8)])
def test_samples_that_were_judged_are_counted(trainer, limit, count):
    counts, data = Counts(), Data()
    running = trainer(counts, **limit)
    running.test(Scripted([0.1]), datamodule=data, verbose=False)
    assert counts.counts == {"test": count}
    running.validate(Scripted([0.1]), datamodule=data, verbose=False)
    assert counts.counts["val"] == (21 if not limit.get("fast_dev_run") else 8)


def test_samples_of_several_devices_are_counted_once(monkeypatch):
    def gathered(everyone: list, seen: set) -> None:
        everyone[:] = [seen, {*list(seen)[:1], b"other"}]  # the last round is filled up with the first samples

    monkeypatch.setattr(torch.distributed, "all_gather_object", gathered)
    counts, trainer = Counts(), SimpleNamespace(world_size=2)
    counts.on_test_batch_end(trainer, None, None, {"id": ["a", "b"]}, 0)
    counts.on_test_end(trainer, None)
    assert counts.counts == {"test": 3}
