import pytest
import torch

from callbacks import collapse_monitor
from callbacks.collapse_monitor import CollapseMonitor, effective_rank, embedding_std
from tests.helpers.errors import assert_named, warnings_of
from tests.helpers.small_task import Data, MemoryLogger, Pretraining, Task


def test_spread_is_one_for_axes_in_both_directions_and_zero_for_one_point():
    axes = torch.cat([torch.eye(6), -torch.eye(6)]) * 7.0
    assert embedding_std(axes) == pytest.approx(1)
    assert embedding_std(torch.ones(10, 6)) == pytest.approx(0, abs=1e-6)


def test_spread_of_a_gaussian_is_near_one():
    assert embedding_std(torch.randn(4000, 32)) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_effective_rank_counts_equally_used_dimensions(rank):
    assert effective_rank(torch.eye(rank, 8).repeat(3, 1)) == pytest.approx(rank, rel=1e-4)


def test_embeddings_that_are_all_zero_have_the_rank_of_one_point():
    assert effective_rank(torch.zeros(9, 4)) == 1


def test_effective_rank_is_the_exponential_of_the_entropy():
    rows = torch.tensor([[1.0, 0.0]] * 9 + [[0.0, 1.0]])  # singular values 3 and 1
    share = torch.tensor([0.75, 0.25])
    assert effective_rank(rows) == pytest.approx(torch.exp(-(share * share.log()).sum()).item(), rel=1e-4)


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


def test_supervised_tasks_are_left_alone(trainer):
    logger = MemoryLogger()
    trainer(CollapseMonitor(every=1), logger=logger).fit(Task(), datamodule=Data())
    assert not logger.values("train/embedding_std")
