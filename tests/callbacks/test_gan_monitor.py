"""GANMonitor: one warning for a saturated discriminator, one for clipped weights."""

import pytest
import torch
from torch import nn

from callbacks import GANMonitor
from callbacks.generation import gan_monitor
from tests.helpers.errors import assert_named, warnings_of
from tests.helpers.small_task import Data, MemoryLogger, Task


class Adversaries(Task):
    """Task that logs given discriminator outputs."""

    generative = True

    def __init__(self, real: float = 0.5, fake: float = 0.5, wasserstein: bool = False, weight_clip: float = 0.0):
        super().__init__()
        self.verdicts = {"train/d_real": real, "train/d_fake": fake}
        self.verdicts |= {"train/wasserstein": real - fake} if wasserstein else {}
        self.discriminator, self.weight_clip = nn.Linear(4, 5), weight_clip

    def training_step(self, batch, batch_idx):
        self.log_dict(self.verdicts)
        return super().training_step(batch, batch_idx)


def heard(trainer, task: Task, **settings) -> tuple[list[str], MemoryLogger]:
    logger = MemoryLogger()
    with warnings_of(gan_monitor) as said:
        trainer(GANMonitor(every=2), max_epochs=3, logger=logger, **settings).fit(task, datamodule=Data())
    return said, logger


@pytest.mark.parametrize(("real", "fake"), [(0.999, 0.001), (1.0, 0.0), (1.2, -1.1)], ids=["sure", "squares", "hinge"])
def test_a_sure_discriminator_is_named_once(trainer, real, fake):
    words, _ = heard(trainer, Adversaries(real, fake))
    assert len(words) == 1
    assert_named(words[0], 10, "--model.discriminator_optim.lr", "--model.penalty r1")  # 5th look at every 2nd batch


@pytest.mark.parametrize(("real", "fake"), [(0.6, 0.4), (0.98, 0.001), (0.999, 0.3), (0.4, -0.5)])
def test_a_game_that_goes_on_passes_in_silence(trainer, real, fake):
    assert heard(trainer, Adversaries(real, fake))[0] == []


def test_scores_of_a_critic_have_no_bounds_to_saturate_at(trainer):
    assert heard(trainer, Adversaries(5.0, 0.001, wasserstein=True))[0] == []


def test_clipped_weights_at_their_bound_are_counted_and_named(trainer):
    task = Adversaries(5.0, 1.0, wasserstein=True, weight_clip=0.01)
    with torch.no_grad():
        for parameter in task.discriminator.parameters():
            parameter.fill_(-0.01)
        task.discriminator.weight[0, 0] = 0.0  # 24 of 25
    words, logger = heard(trainer, task)
    assert len(words) == 1
    assert_named(words[0], "96 %", 0.01, "--model.weight_clip", "--model.penalty gradient")
    assert logger.values("train/clipped_weights") == pytest.approx([0.96] * 15)  # 9 looks; those between repeat them


def test_weights_within_their_bound_are_only_counted(trainer):
    task = Adversaries(5.0, 1.0, wasserstein=True, weight_clip=10.0)
    words, logger = heard(trainer, task)
    assert words == [] and set(logger.values("train/clipped_weights")) == {0.0}


def test_without_clipping_nothing_is_counted(trainer):
    assert not heard(trainer, Adversaries())[1].values("train/clipped_weights")
