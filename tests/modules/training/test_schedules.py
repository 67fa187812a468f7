"""Learning rates of `step` and `plateau` at every optimizer step, beside torch's own schedulers."""

import math

import pytest
import torch
from torch import nn

from modules.contracts import ConfigError
from modules.training.optim import Optim
from modules.training.schedules import Rates
from tests.helpers.errors import refuses

EPOCH = 4  # steps


def built(steps: int = 400, epoch: float = EPOCH, **settings) -> tuple[torch.optim.Optimizer, Rates]:
    settings = {"optimizer": torch.optim.SGD, "lr": 1.0, "warmup": 0.0} | settings
    return Optim(**settings).build(nn.Linear(2, 2), None, steps, epoch=epoch)


def rates(epochs: int, **settings) -> list[float]:
    """The learning rate of each optimizer step."""
    optimizer, schedule = built(epochs * EPOCH, **settings)
    seen = []
    for _ in range(epochs * EPOCH):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def torchs(kind: type, epochs: int, **settings) -> list[float]:
    """The same of a scheduler of torch's, which steps per epoch."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule, seen = kind(optimizer, **settings), []
    for _ in range(epochs):
        seen += [optimizer.param_groups[0]["lr"]] * EPOCH
        optimizer.step()
        schedule.step()
    return seen


def test_milestones_are_epochs_as_those_of_torch():
    seen = rates(100, schedule="step", milestones=[30, 60, 90])
    assert seen == pytest.approx(torchs(torch.optim.lr_scheduler.MultiStepLR, 100, milestones=[30, 60, 90]))
    assert [seen[epoch * EPOCH] for epoch in (29, 30, 60, 90)] == pytest.approx([1, 0.1, 0.01, 0.001])


def test_a_period_is_that_of_googlenet():
    seen = rates(40, schedule="step", period=8, gamma=0.96)
    assert seen == pytest.approx(torchs(torch.optim.lr_scheduler.StepLR, 40, step_size=8, gamma=0.96))
    assert seen[-1] == pytest.approx(0.96**4)


def test_milestones_below_one_are_fractions_of_the_training():
    seen = rates(25, schedule="step", milestones=[0.5, 0.75], gamma=0.5)
    assert [seen[i] for i in (0, 49, 50, 74, 75)] == [1, 1, 0.5, 0.5, 0.25]


def test_warmup_delays_no_milestone():
    seen = rates(4, schedule="step", milestones=[1, 2], warmup=6)
    rise = [(step + 1) / 6 for step in range(6)] + [1] * 10
    assert seen == pytest.approx([a * 0.1 ** (step // EPOCH if step < 8 else 2) for step, a in enumerate(rise)])


def test_epochs_of_broken_length_begin_with_their_first_whole_step():
    """A generator that steps at every 3rd of 10 batches has 3 1/3 steps in an epoch."""
    _, schedule = built(schedule="step", milestones=[1, 2], epoch=10 / 3)
    factors = [schedule.lr_lambdas[0](step) for step in range(8)]
    assert factors == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("final", [0.0, 0.01])
def test_a_plateau_is_torchs(final):
    """Patience 3 here reduces at the third validation without improvement; torch's patience is one less."""
    scores = [0.1, 0.3, 0.2, 0.3, 0.25, 0.31, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.4]
    optimizer, schedule = built(schedule="plateau", patience=3, gamma=0.1, final=final, lr=0.5)
    other = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        other, "max", factor=0.1, patience=2, threshold=0, min_lr=0.5 * final, eps=0
    )
    best, waited, seen = -1.0, 0, []
    for score in scores:
        optimizer.step()
        schedule.step()
        best, waited = (score, 0) if score > best else (best, waited + 1)
        schedule.after_validation(waited)
        reference.step(score)
        seen.append(optimizer.param_groups[0]["lr"])
        assert seen[-1] == pytest.approx(other.param_groups[0]["lr"])
    assert seen[-1] == pytest.approx(0.0005 if final == 0 else 0.005)


def test_a_plateau_warms_up_first_and_keeps_its_rate_from_step_to_step():
    optimizer, schedule = built(schedule="plateau", warmup=4, patience=1, gamma=0.5)
    seen = []
    for step in range(8):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
        schedule.after_validation(int(step == 5))
    assert seen == [0.25, 0.5, 0.75, 1, 1, 1, 0.5, 0.5]


def test_a_plateau_reduces_groups_that_joined_later_too():
    optimizer, schedule = built(schedule="plateau", patience=1)
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 0.3})
    schedule.after_validation(1)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.1, 0.03])
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.1, 0.03])


def test_groups_that_joined_later_resume_at_their_rates():
    first, second = (built(schedule="linear", steps=10) for _ in range(2))
    for step in range(6):
        for optimizer, schedule in (first, second):
            if step == 2:
                optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 0.4})
            if optimizer is first[0]:
                optimizer.step()
                schedule.step()
    second[0].load_state_dict(first[0].state_dict())
    second[1].load_state_dict(first[1].state_dict())
    for _ in range(2):
        assert second[0].param_groups[-1]["lr"] == first[0].param_groups[-1]["lr"] != 0.4
        for optimizer, schedule in (first, second):
            optimizer.step()
            schedule.step()


def test_a_loaded_plateau_goes_on_reduced():
    first, old = built(schedule="plateau", patience=1)
    old.after_validation(1)
    second, new = built(schedule="plateau", patience=2, gamma=0.5)
    second.load_state_dict(first.state_dict())
    new.load_state_dict(old.state_dict())
    assert second.param_groups[0]["lr"] == pytest.approx(0.1)
    new.after_validation(1)
    assert second.param_groups[0]["lr"] == pytest.approx(0.1)  # patience as asked for now
    new.after_validation(2)
    assert second.param_groups[0]["lr"] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"schedule": "step", "milestones": [60, 30]}, ["milestones", 60, 30]),
        ({"schedule": "step", "milestones": [30, 30]}, ["milestones"]),
        ({"schedule": "step", "milestones": [0.5, 30]}, ["milestones", 0.5, "below 1"]),
        ({"schedule": "step", "milestones": [0, 30]}, ["milestones"]),
        ({"schedule": "step", "milestones": []}, ["milestones"]),
        ({"schedule": "step", "milestones": [3], "period": 8}, ["milestones", "period", 8]),
        ({"schedule": "step", "milestones": [math.nan]}, ["milestones"]),
        ({"schedule": "step", "period": 0}, ["period", 0]),
        ({"schedule": "step", "period": math.nan}, ["period"]),
        ({"schedule": "step", "gamma": 0}, ["gamma", 0]),
        ({"schedule": "plateau", "gamma": 1.5}, ["gamma", 1.5]),
        ({"schedule": "plateau", "patience": 0}, ["patience", 0]),
        # settings of another schedule
        ({"milestones": [30]}, ["milestones", "cosine", "step"]),
        ({"gamma": 0.5}, ["gamma", "cosine", "step", "plateau"]),
        ({"schedule": "step", "patience": 3}, ["patience", "step", "plateau"]),
        ({"schedule": "plateau", "period": 3}, ["period", "plateau", "step"]),
    ],
)
def test_impossible_schedules_are_refused(settings, names):
    with refuses(ConfigError, *names):
        Optim(**settings)


def test_milestones_in_epochs_need_their_length():
    with refuses(ConfigError, "milestones", "trainer.max_steps"):
        built(schedule="step", milestones=[30], epoch=math.inf)
    built(schedule="step", milestones=[0.5], epoch=math.inf)


def test_milestones_after_the_end_are_named():
    with pytest.warns(UserWarning, match=r"milestones 60, 90 are never reached.*40 epochs"):
        built(40 * EPOCH, schedule="step", milestones=[30, 60, 90])
