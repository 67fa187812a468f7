"""Label-free statistics of a validation, on the samples and views that they are about."""

import pytest
import torch

from callbacks import FeatureMonitor
from callbacks.collectors.embedding import embed
from modules.contracts import ConfigError
from modules.metrics.representation import rankme, uniformity
from tests.helpers.errors import assert_named, refuses
from tests.helpers.small_task import Data, MemoryLogger, Pretraining, Samples, Task


class Views(Data):
    """Validation on two views of each image."""

    def val_dataloader(self):
        return self.in_order(Samples(21, 1, views=True))


def logged(trainer, data: Data, task: Task, **settings) -> dict[str, float]:
    (found,) = trainer(FeatureMonitor(**settings)).validate(task, datamodule=data, verbose=False)
    return found


def test_images_without_views_have_a_rank_and_uniformity(trainer):
    task, data = Task(), Data()
    found = logged(trainer, data, task)
    assert found.keys() == {"val/rankme", "val/uniformity"}
    features, _ = embed(data.plain_dataloader("val"), trainer(), task)
    assert found["val/rankme"] == pytest.approx(rankme(features), rel=1e-5)
    assert found["val/uniformity"] == pytest.approx(uniformity(features), rel=1e-3, abs=1e-5)


def test_two_views_have_an_alignment_and_lidar_too(trainer):
    task = Task()
    task.validation_step = lambda batch, batch_idx: None
    found = logged(trainer, Views(), task)
    assert found.keys() == {"val/rankme", "val/uniformity", "val/alignment", "val/lidar"}
    assert 0 < found["val/alignment"] < 0.1  # mirrored noise
    assert 1 <= found["val/lidar"] <= 8


def test_a_few_samples_are_spread_over_the_split(trainer):
    monitor, seen = FeatureMonitor(samples=6), []
    monitor.protocol_lines = lambda _: {}
    task, data = Task(), Data()
    trainer(monitor).validate(task, datamodule=data, verbose=False)
    kept = monitor.kept.kept()["features"]
    assert len(kept) == 6
    features, labels = embed(data.plain_dataloader("val"), trainer(), task)
    for row in kept[:, 0]:
        seen.append(int((features - row).abs().sum(1).argmin()))
    assert max(seen) > 13 and min(seen) < 7 and len(set(labels[seen].tolist())) > 1


def test_a_single_sample_has_no_statistics(trainer):
    data = Data()
    data.sizes["val"] = (1, 1)
    assert not logged(trainer, data, Task())


def test_measures_every_few_epochs_and_the_last(trainer):
    logger = MemoryLogger()
    task, data = Task(), Data()
    trainer(FeatureMonitor(every=2), max_epochs=3, logger=logger).fit(task, datamodule=data)
    assert [step for step, row in logger.rows if "val/rankme" in row] == [11, 17]


def test_protocols_say_how_many_images(trainer):
    monitor = FeatureMonitor()
    run = trainer(monitor)
    run.validate(Task(), datamodule=Data(), verbose=False)
    assert_named(monitor.protocol_lines(run)["val/rankme"], 21, "val", 8)


def test_a_task_without_features_is_refused(trainer):
    class Blind(Pretraining):
        features = property()

    with refuses(ConfigError, "FeatureMonitor", "Blind"):
        trainer(FeatureMonitor()).validate(Blind(), datamodule=Data(), verbose=False)
    with refuses(ConfigError, "FeatureMonitor.samples", 1):
        FeatureMonitor(samples=1)


def test_training_does_not_notice_it(trainer):
    finals = []
    for callbacks in ([], [FeatureMonitor()]):
        torch.manual_seed(3)
        task = Task()
        trainer(*callbacks, max_epochs=2).fit(task, datamodule=Data())
        finals.append((torch.get_rng_state(), *task.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(*finals, strict=True))
