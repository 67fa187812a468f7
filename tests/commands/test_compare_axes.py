"""Axes of a comparison as typed: values, names of variants, references, refusals."""

import pytest

from commands.compare.axes import Axis, grid, read_vary, read_weights, split_values
from commands.compare.plan import typed_plan
from commands.compare.runs import check_starts
from modules.contracts import ConfigError, DataError
from tests.helpers.errors import refuses


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("0.1,0.01", ["0.1", "0.01"]),
        ("1e-3, 00:12:00 ,null", ["1e-3", "00:12:00", "null"]),
        ('"a,b",c', ["a,b", "c"]),
        ("[0.2, 1],[0.5,1]", ["[0.2, 1]", "[0.5,1]"]),
        (
            "{class_path: SGD, init_args: {momentum: 0.9}},AdamW",
            ["{class_path: SGD, init_args: {momentum: 0.9}}", "AdamW"],
        ),
        ("none, my runs/sim clr", ["none", "my runs/sim clr"]),
    ],
)
def test_values_are_what_stands_between_commas(typed, values):
    assert split_values("--vary x", typed) == values


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        (["model.optim.lr=0.1,0.01"], ["lr=0.1", "lr=0.01"]),
        (["model.optim.lr=[0.1,0.01]"], ["lr=0.1", "lr=0.01"]),
        (["--model.init_args.backbone=resnet18,convnext_atto"], ["backbone=resnet18", "backbone=convnext_atto"]),
        (["data.scale=[0.2,1],[0.5,1]"], ["scale=0.2_1", "scale=0.5_1"]),
        (["data.root=a/b,a_b"], ["root=a_b", "root=a_b+2"]),
        (["early_stopping=1,null"], ["early_stopping=1", "early_stopping=null"]),
        (
            ["model.generator_optim.lr=1,2", "model.discriminator_optim.lr=3,4"],
            [f"generator_optim.lr={a},discriminator_optim.lr={b}" for a in (1, 2) for b in (3, 4)],
        ),
    ],
)
def test_variants_are_named_by_the_last_parts_of_their_settings(typed, names):
    assert list(grid(read_vary(typed))) == names


def test_variants_are_compared_with_the_first_or_with_the_reference_weights_and_all_else_equal():
    varied = read_vary(["model.optim.lr=0.1,0.01", "model.head.dropout=0,0.5"])
    first, *others = grid(varied).values()
    assert first.reference is None and {each.reference for each in others} == {"lr=0.1,dropout=0"}
    both = grid([*varied[:1], read_weights("runs/simclr,none")])
    assert {name: each.reference for name, each in both.items()} == {
        "lr=0.1,simclr": "lr=0.1,none",
        "lr=0.1,none": None,
        "lr=0.01,simclr": "lr=0.01,none",
        "lr=0.01,none": None,
    }
    one = grid([*varied[:1], read_weights("runs/simclr")])
    assert [each.reference for each in one.values()] == [None, "lr=0.1,simclr"]


def test_the_settings_of_a_run_are_typed_behind_those_of_all():
    plan = typed_plan(
        ["--config", "c.yaml", "--vary", "model.optim.lr=0.1,0.01", "--weights", "none,x", "--seeds", "7,"]
    )
    name = "lr=0.01,none"
    assert plan.arguments(name) == ["--config", "c.yaml", "--model.optim.lr=0.01", "--model.weights=null"]
    assert plan.arguments(name, plan.repeats[0])[-1] == "--seed_everything=7"
    assert plan.run_folder(name, plan.repeats[0]) == plan.folder / name / "seed7"


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        (["model.optim.lr"], ["--vary", "model.optim.lr"]),
        (["=1,2"], ["--vary"]),
        (["model.optim.lr="], ["model.optim.lr"]),
        (["model.optim.lr=0.1"], ["model.optim.lr=0.1", "two"]),
        (["model.optim.lr=[0.1]"], ["model.optim.lr", "two"]),
        (["model.optim.lr=0.1,0.1"], ["model.optim.lr", "0.1", "twice"]),
        (["model.optim.lr=[0.1,1"], ["model.optim.lr", "quotes"]),
        (["data.mean=1,2", "data.mean=3,4"], ["data.mean", "twice"]),
        (["modl.optim.lr=1,2"], ["modl.optim.lr", "model.optim.lr"]),
        (["lr=1,2"], ["lr", "model.optim.lr"]),
        (["seed_everything=1,2"], ["--seeds"]),
        (["model.weights=a,b"], ["--weights"]),
        (["run_dir=a,b"], ["--run_dir"]),
        (["early_stoping=1,2"], ["early_stoping", "early_stopping"]),
    ],
)
def test_a_wrong_axis_is_refused(typed, names):
    with refuses(ConfigError, *names):
        read_vary(typed)


def test_a_name_too_long_for_a_folder_is_refused():
    with refuses(ConfigError, "fewer"):
        grid([Axis(f"data.{i}", {f"{i}=" + "x" * 40: "x", "y": "y"}) for i in range(5)])


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        (["--vary", "model.optim.lr=1,2", "--model.optim.lr", "3"], ["--model.optim.lr", "--vary model.optim.lr"]),
        (["--vary", "data.x=1,2", "--data.init_args.x=3"], ["--data.init_args.x", "--vary data.x"]),
        (["--weights", "none", "--model.weights", "x"], ["--model.weights", "--weights"]),
        (["--vary", "model.optim.lr=1,2", "--model.optim", "{lr: 3}"], ["model.optim.lr", "--vary model.optim.lr"]),
        (["--vary", "model.optim={lr: 1},{lr: 2}", "--model.optim.lr", "3"], ["--model.optim.lr", "model.optim"]),
        (["--weights", "none", "--config", "{seed_everything: 3}"], ["seed_everything", "--seeds"]),
        ([], ["--weights", "--vary"]),
    ],
)
def test_an_option_that_each_run_has_a_value_of_its_own_for_is_refused(typed, names):
    with refuses(ConfigError, *names):
        typed_plan(typed)


def test_weights_of_all_runs_may_be_typed_where_they_do_not_vary():
    assert typed_plan(["--vary", "model.optim.lr=1,2", "--model.weights", "x"]).typed == ["--model.weights", "x"]


def test_folds_are_repetitions_of_each_seed():
    plan = typed_plan(["--config", "tasks/classification.yaml", "--folds", "3", "--seeds", "4,5"])
    assert [(repeat.seed, repeat.fold) for repeat in plan.repeats] == [(s, f) for s in (4, 5) for f in range(3)]
    assert list(plan.variants) == ["classification"]
    words = plan.arguments("classification", plan.repeats[-1])
    assert words[-3:] == ["--seed_everything=5", "--data.folds=3", "--data.held_out_fold=2"]
    assert [repeat.seed for repeat in typed_plan(["--folds", "2"]).repeats] == [0, 0]


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        (["--folds", "1"], ["--folds", 1]),
        (["--folds", "abc"], ["--folds", "abc"]),
        (["--folds", "-2"], ["--folds", -2]),
        (["--folds"], ["--folds", "value"]),
        (["--folds", "3", "--data.folds", "2"], ["--data.folds", "--folds"]),
        (["--folds", "2", "--vary", "data.held_out_fold=0,1"], ["--folds", "data.held_out_fold"]),
        (["--folds", "2", "--seeds", "3000000000"], ["--seeds", 3000000000]),
    ],
)
def test_folds_and_seeds_that_cannot_be_are_refused(typed, names):
    with refuses(ConfigError, *names):
        typed_plan(typed)


def test_weights_that_change_during_a_comparison_are_named(tmp_path):
    weights = tmp_path / "best.ckpt"
    weights.write_bytes(b"epoch 6")
    check_starts(tmp_path, {"simclr": str(weights), "imagenet": "pretrained"})
    check_starts(tmp_path, {"simclr": str(weights)})
    weights.write_bytes(b"epoch 9")
    with refuses(DataError, weights, "simclr"):
        check_starts(tmp_path, {"simclr": str(weights)})
    (tmp_path / "starts.json").write_text('{"simclr": ')
    with refuses(DataError, tmp_path / "starts.json", "delete"):
        check_starts(tmp_path, {"simclr": str(weights)})
