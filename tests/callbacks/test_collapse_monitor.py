import pytest
import torch

from callbacks import collapse_monitor
from callbacks.collapse_monitor import CollapseMonitor
from tests.helpers.errors import assert_named, warnings_of
from tests.helpers.small_task import Data, MemoryLogger, Pretraining, Task


def test_logs_every_so_many_steps_and_warns_once_about_a_collapse(trainer):
    logger = MemoryLogger()
    with warnings_of(collapse_monitor) as said:
        task = Pretraining(embeddings=torch.ones_like)
        trainer(CollapseMonitor(every=2), max_epochs=2, logger=logger).fit(task, datamodule=Data(views=True))
    assert len(said) == 1
    assert_named(said[0], 2, "1.0", 8)
    assert logger.values("train/embedding_std")[0] == pytest.approx(0, abs=1e-6)
    assert logger.values("train/effective_rank")[0] == pytest.approx(1, abs=1e-3)


def test_healthy_embeddings_pass_in_silence(trainer):
    logger = MemoryLogger()
    with warnings_of(collapse_monitor) as said:
        task = Pretraining(embeddings=lambda features: torch.randn(len(features), 4))
        trainer(CollapseMonitor(every=3), logger=logger).fit(task, datamodule=Data(views=True))
    assert not said
    assert logger.values("train/embedding_std")[0] > 0.5


def test_a_batch_of_few_images_is_no_collapse(trainer):
    with warnings_of(collapse_monitor) as said:
        task = Pretraining(embeddings=lambda features: features[:1])
        trainer(CollapseMonitor(every=1)).fit(task, datamodule=Data(views=True))
    assert not said


def test_supervised_tasks_are_left_alone(trainer):
    logger = MemoryLogger()
    trainer(CollapseMonitor(every=1), logger=logger).fit(Task(), datamodule=Data())
    assert not logger.values("train/embedding_std")
