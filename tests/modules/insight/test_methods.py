"""Options of the methods of attribution: what cannot work is refused, and nothing that is given is ignored."""

import pytest
import torch

from modules.contracts import ConfigError
from modules.insight.layers import level_number
from modules.insight.methods import METHODS, Options, check_used
from modules.insight.subject import Subject
from tests.helpers.errors import refuses


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"patch": 0}, "--patch"),
        ({"patch": -2}, "--patch"),
        ({"patch": 9}, "--patch"),
        ({"stride": 0}, "--stride"),
        ({"patch": 4, "stride": 5}, "--stride"),
    ],
)
def test_windows_that_cannot_slide_are_refused(options, name):
    subject = Subject(torch.rand(1, 3, 8, 8), lambda inputs, rows: inputs.mean((1, 2, 3)))
    with refuses(ConfigError, name, options[name.strip("-")]):
        METHODS["occlusion"](subject, Options(**options))


@pytest.mark.parametrize(
    ("option", "names"), [("layer", ["saliency"]), ("patch", ["rise"]), ("stride", ["gradcam"]), ("masks", ["gradcam"])]
)
def test_an_option_of_a_method_that_is_not_chosen_is_refused(option, names):
    with refuses(ConfigError, f"--{option}", names[0]):
        check_used(names, Options(**{option: 3}))
    check_used(names, Options())
    check_used(["gradcam", "occlusion", "rise"], Options("layer4", 4, 2, 100))


def test_a_level_is_given_by_its_number():
    assert level_number("2", 5, "it") == 2 and level_number("-1", 5, "it") == 4
    assert level_number("layer2", 5, "it") is level_number("--1", 5, "it") is level_number("-", 5, "it") is None
    with refuses(ConfigError, "--layer", "5", "0 to 4"):
        level_number("5", 5, "it")
