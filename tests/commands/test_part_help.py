"""Help of a class: that of the YAML or the one named, with options as they are typed."""

import pytest

import datamodules  # noqa: F401  # classes that settings name
import modules.heads
import modules.necks  # noqa: F401
from commands.part_help import show_part_help
from modules.contracts import ConfigError
from tests.helpers.errors import assert_named

DETECTION = ["fit", "--config", "tasks/detection.yaml"]


@pytest.fixture
def shown(capsys):
    """The help that arguments ask for."""

    def show(*argv: str) -> str:
        with pytest.raises(SystemExit) as end:
            show_part_help(list(argv))
        assert not end.value.code
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize(
    ("asked", "option"),
    [
        (["--model.help"], "--model.freeze_norm"),
        (["--data.help"], "--data.augment"),
        (["--model.head.help"], "--model.head.anchor_sizes"),
        (["--model.head", "SSD", "--model.head.help"], "--model.head.score_threshold"),
        (["--model.neck.help", "--seed_everything", "1"], "--model.neck.levels"),
        (["--model.head.help", "FCOS"], "--model.head.radius"),
        (["--model.init_args.head.help=FCOS"], "--model.head.radius"),
        (["--model.help", "SimCLR"], "--model.temperature"),
    ],
)
def test_the_options_of_the_class_at_hand_or_named_are_shown_as_typed(shown, asked, option):
    assert option in shown(*DETECTION, *asked)


def test_values_are_those_of_the_yaml_and_what_the_program_gives_is_left_out(shown):
    text = shown(*DETECTION, "--model.head.help")
    assert "[24, 36, 48]" in text
    assert "--model.head.features" not in text and "--model.head.outputs" not in text


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (["fit", "--model.help"], ["model", "Detection"]),
        ([*DETECTION, "--model.backbone.help"], ["model.backbone", "test_resnet", "Timm"]),
        ([*DETECTION, "--model.head.help", "UNet"], ["model.head", "UNet", "FCOS"]),
        ([*DETECTION, "--model.hed.help"], ["model.hed", "Detection"]),
        ([*DETECTION, "--model.frozen.help"], ["model.frozen"]),
    ],
)
def test_help_without_a_class_is_refused_by_its_setting(asked, named):
    with pytest.raises(ConfigError) as refused:
        show_part_help(asked)
    assert_named(str(refused.value), *named)


def test_other_arguments_pass():
    show_part_help([*DETECTION, "--help", "--trainer.callbacks.help", "KNN"])
