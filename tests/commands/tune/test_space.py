"""Search spaces: what a YAML may say, what a grid and a sweep of W&B make of it, and what is refused."""

import pytest
import yaml

from commands.tune.plan import budget, typed_plan
from commands.tune.space import default_space, dimension, grid, print_space, probes, read_space
from modules.contracts import ConfigError
from tests.helpers.errors import refuses

SPACE = """
model.optim.lr: {low: 1e-4, high: 1e-2, log: true}
model.init_args.head.dropout: {low: 0, high: 0.5, step: 0.25}
trainer.max_epochs: {low: 2, high: 9, step: 3, int: true}
data.crop: [[0.2, 1.0], null]
model.frozen: [true, false]
"""


@pytest.fixture
def space(tmp_path):
    (tmp_path / "tune.yaml").write_text(SPACE)
    return read_space(str(tmp_path / "tune.yaml"))


def test_what_is_printed_is_read_back_as_the_same_space(space, tmp_path):
    (tmp_path / "again.yaml").write_text(print_space(space))
    assert read_space(str(tmp_path / "again.yaml")) == space
    assert list(space) == [
        "model.optim.lr",
        "model.head.dropout",
        "trainer.max_epochs",
        "data.crop",
        "model.frozen",
    ]


def test_a_grid_takes_choices_steps_and_three_points_of_other_ranges(space):
    points = {name: each.points() for name, each in space.items()}
    assert points["model.optim.lr"] == [0.0001, 0.001, 0.01]
    assert points["model.head.dropout"] == [0, 0.25, 0.5]
    assert points["trainer.max_epochs"] == [2, 5, 8]
    assert points["data.crop"] == ["[0.2, 1.0]", None]
    assert len(grid(space)) == 3 * 3 * 3 * 2 * 2


def test_a_sweep_has_the_distributions_of_the_space(space):
    assert {name: each.sweep() for name, each in space.items()} == {
        "model.optim.lr": {"distribution": "log_uniform_values", "min": 0.0001, "max": 0.01},
        "model.head.dropout": {"distribution": "q_uniform", "min": 0, "max": 0.5, "q": 0.25},
        "trainer.max_epochs": {"distribution": "q_uniform", "min": 2, "max": 8, "q": 3},
        "data.crop": {"distribution": "categorical", "values": ["[0.2, 1.0]", None]},
        "model.frozen": {"distribution": "categorical", "values": [True, False]},
    }
    assert dimension("x", {"low": 1, "high": 9, "int": True}).sweep() == {
        "distribution": "int_uniform",
        "min": 1,
        "max": 9,
    }


def test_every_bound_and_choice_is_shown_to_the_parser(space):
    words = {word for row in probes(space) for word in row}
    assert {"--model.optim.lr=0.0001", "--model.optim.lr=0.01", "--data.crop=[0.2, 1.0]", "--data.crop=null"} <= words
    assert {"--trainer.max_epochs=2", "--trainer.max_epochs=8", "--model.frozen=true"} <= words


def test_values_are_held_by_ranges_and_choices(space):
    lr, dropout, epochs, crop, frozen = space.values()
    assert lr.holds(0.01) and not lr.holds(0.02) and not lr.holds(None) and not lr.holds(True)
    assert dropout.holds(0.25) and not dropout.holds(0.3)
    assert epochs.holds(5) and not epochs.holds(6)
    assert crop.holds("[0.2, 1.0]") and crop.holds(None) and not frozen.holds(1)


def test_the_default_space_lies_around_the_configuration_without_what_was_typed():
    settings = {
        "model.optim.lr": 0.002,
        "model.optim.weight_decay": 0.05,
        "model.discriminator_optim.lr": None,
        "data.augment": "simclr",
        "data.batch_size": 64,
        "trainer.max_epochs": 3,
    }
    space = default_space(settings, {"model.optim.weight_decay"}, comparable=True)
    assert yaml.safe_load(print_space(space)) == {
        "model.optim.lr": {"low": 0.0002, "high": 0.02, "log": True},
        "model.discriminator_optim.lr": {"low": 0.0001, "high": 0.01, "log": True},
        "data.augment": ["none", "flip", "strong", "simclr"],
        "data.batch_size": [32, 64, 128],
    }
    losses = default_space(settings, set(), comparable=False)
    assert list(losses) == ["model.optim.lr", "model.optim.weight_decay", "model.discriminator_optim.lr"]
    assert not default_space(settings | {"data.augment": "none", "data.batch_size": 64}, set(settings), True)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"low": 0.1, "high": 0.1}, ["0.1"]),
        ({"low": 1, "high": 0}, ["1", "0"]),
        ({"low": 0, "high": 1, "log": True}, ["low", "log"]),
        ({"low": 1, "high": 2, "log": True, "step": 1}, ["log", "step"]),
        ({"low": 1, "high": 2, "step": 3}, ["step", "3"]),
        ({"low": 1, "high": 2.5, "int": True}, ["int", "2.5"]),
        ({"low": 1, "high": "many"}, ["high", "many"]),
        ({"low": 1, "high": 2, "log": "yes"}, ["log", "yes"]),
        ({"low": 1, "hihg": 2}, ["low"]),
        ({"low": 1, "high": 2, "sclae": 1}, ["sclae"]),
        ({"head": {"init_args": {"dropout": [0, 1]}}}, ["nested", "model.optim.lr.head.dropout: [0, 1]"]),
        ([1], ["1"]),
        ([], ["[]"]),
        ([1, 1], ["twice"]),
        (0.1, ["0.1"]),
        ({"low": 1, "high": float("inf")}, ["high", "inf"]),
    ],
)
def test_a_wrong_range_is_refused(given, names):
    with refuses(ConfigError, "model.optim.lr", *names):
        dimension("model.optim.lr", given)


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", "text"])
def test_a_file_that_maps_nothing_is_refused(tmp_path, text):
    (tmp_path / "tune.yaml").write_text(text)
    with refuses(ConfigError, "--space", tmp_path / "tune.yaml"):
        read_space(str(tmp_path / "tune.yaml"))
    with refuses(ConfigError, "--space", tmp_path / "gone.yaml"):
        read_space(str(tmp_path / "gone.yaml"))


def test_a_budget_is_a_duration():
    assert [budget(text) for text in (None, "45s", "30m", "1.5h", "1h30m", "2d")] == [
        None, 45, 1800, 5400, 5400, 172800,
    ]  # fmt: skip
    for text in ("30", "30 m", "m", "", "-5m", "1h30"):
        with refuses(ConfigError, "--budget", repr(text)):
            budget(text)
    with refuses(ConfigError, "--budget", "2s"):
        budget("2s")


def test_flags_are_typed_alone_or_with_true_and_values_may_begin_with_a_dash():
    assert [typed_plan(["--wandb", *more]).shown for more in ([], ["true"], ["false"])] == ["wandb", "wandb", ""]
    assert typed_plan(["--steps=true", "--data.root", "x"]).typed == ["--data.root", "x"]
    for words, names in (
        (["--wandb", "yes"], ["--wandb", "yes", "true"]),
        (["--budget", "-5m"], ["--budget", "-5m", "30m"]),
        (["--trials", "-1"], ["--trials", "-1"]),
        (["--trials"], ["--trials", "value"]),
    ):
        with refuses(ConfigError, *names):
            typed_plan(words)
