"""Settings that the parser lets pass and that are refused before a run."""

import inspect

import pytest
from jsonargparse import Namespace
from lightning.pytorch import Trainer

from commands.setting_checks import check_classes, check_optimizers, check_trainer
from modules.contracts import ConfigError
from modules.heads.base import ClassificationHead
from tasks import Task
from tests.helpers.errors import refuses

DEFAULTS = {name: parameter.default for name, parameter in inspect.signature(Trainer).parameters.items()}
DEFAULTS |= {"max_epochs": 10}


class Alone(ClassificationHead):
    """A head that takes nothing."""

    def __init__(self):
        super().__init__()

    def forward(self, x: object) -> object:
        return x


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"max_epochs": 0}, ["max_epochs", 0]),
        ({"max_epochs": -5}, ["max_epochs", -5]),
        ({"max_epochs": -1}, ["max_epochs", -1, "trainer.max_steps"]),
        ({"max_steps": -2}, ["max_steps", -2]),
        ({"min_epochs": 11}, ["min_epochs", 11, "trainer.max_epochs", 10]),
        ({"min_epochs": -1}, ["min_epochs", -1]),
        ({"min_steps": -1}, ["min_steps", -1]),
        ({"val_check_interval": 0}, ["val_check_interval", 0]),
        ({"limit_train_batches": 0}, ["limit_train_batches", 0]),
        ({"limit_predict_batches": 0}, ["limit_predict_batches", 0]),
        ({"gradient_clip_val": -1.0}, ["gradient_clip_val", -1]),
        ({"log_every_n_steps": -1}, ["log_every_n_steps", -1]),
        ({"accumulate_grad_batches": 0}, ["accumulate_grad_batches", 0]),
        ({"check_val_every_n_epoch": 0}, ["check_val_every_n_epoch", 0]),
        ({"overfit_batches": 2}, ["overfit_batches", "--data.num_labels"]),
    ],
)
def test_a_trainer_setting_out_of_range_is_named(settings, names):
    with refuses(ConfigError, f"trainer.{names[0]}", *names[1:]):
        check_trainer(DEFAULTS | settings, Task())


def test_training_may_be_bounded_by_steps_alone():
    check_trainer(DEFAULTS | {"max_epochs": -1, "max_steps": 5, "min_epochs": 20}, Task())


def test_a_head_without_the_parameters_that_it_is_built_with_is_named():
    head = Namespace(class_path=f"{__name__}.Alone", init_args=Namespace())
    settings = Namespace(class_path="tasks.Classification", init_args=Namespace(head=head))
    with refuses(ConfigError, "model.head", "Alone", 2):
        check_classes("model", settings)


MODEL = Namespace(init_args=Namespace(optim=Namespace(lr=0.1, betas=None)))


@pytest.mark.parametrize("typed", [["--model.optim.optimizer.lr", "3"], ["--model.optim.optimizer.init_args.lr=3"]])
def test_a_rate_of_the_optimizer_that_would_not_count_is_refused(typed):
    with refuses(ConfigError, typed[0].partition("=")[0], "model.optim.lr", 0.1):
        check_optimizers(MODEL, ["fit", *typed])


def test_settings_of_the_optimizer_that_count_pass():
    check_optimizers(MODEL, ["fit", "--model.optim.optimizer.betas", "[0.5,0.9]", "--model.optim.optimizer.eps", "1"])
