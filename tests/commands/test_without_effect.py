"""Typed settings that another one switches off."""

import pytest
from jsonargparse import Namespace

from commands.without_effect import without_effect
from tests.helpers.errors import line_naming


def parsed(**model: object) -> Namespace:
    return Namespace(
        model=Namespace(class_path="X", init_args=Namespace(**model)), data=Namespace(init_args=Namespace())
    )


LORA = {"rank": 0, "alpha": 4.0, "layers": None}


@pytest.mark.parametrize(
    ("model", "typed", "named"),
    [
        ({"lora": Namespace(**LORA)}, "--model.lora.alpha 4", ["model.lora.alpha", "model.lora.rank", "0"]),
        ({"lora": Namespace(**LORA)}, "--model.lora {'alpha':4}", ["model.lora.alpha", "model.lora.rank"]),
        ({"loss": "mse", "queue_size": 8, "temperature": 0.1}, "--model.queue_size=8", ["model.queue_size", "queue"]),
        (
            {"distill": Namespace(teacher=None, weight=0.5)},
            "--model.distill.weight 0.5",
            ["model.distill.weight", "model.distill.teacher", "null"],
        ),
    ],
)
def test_a_typed_setting_of_what_is_off_is_named(model, typed, named):
    (sentence,) = without_effect(parsed(**model), ["fit", *typed.split()])
    line_naming([sentence], *named)


@pytest.mark.parametrize(
    ("model", "typed"),
    [
        ({"lora": Namespace(**LORA | {"rank": 2})}, "--model.lora.rank 2 --model.lora.alpha 4"),
        ({"lora": Namespace(**LORA)}, "--model.lora.rank 0"),
        ({"lora": Namespace(**LORA)}, ""),  # as a YAML has it
        ({"loss": "queue", "queue_size": 8, "temperature": 0.1}, "--model.queue_size 8"),
        ({"temperature": 0.1}, "--model.temperature 0.2"),
    ],
)
def test_settings_that_count_are_not(model, typed):
    assert not [*without_effect(parsed(**model), ["fit", *typed.split()])]
