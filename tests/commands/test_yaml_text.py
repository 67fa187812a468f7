"""Text comes back from YAML as the text that it was, whoever reads it."""

import pytest
import yaml
from jsonargparse._loaders_dumpers import yaml_load
from lightning.pytorch.callbacks.timer import Interval

from commands.yaml_text import dump_yaml

NAMES = (
    "1e3 1E3 1.5e3 -2e-4 .5 1. 1_000 007 0x1F 0b1 1:30 12:30:45 1.0 .inf nan .nan yes no on off True null ~ y n "
    "2024-01-01 = << - ? : [a {a a: #a 'a \"a %a @a `a &a *a !a"
).split()


@pytest.mark.parametrize("name", [*NAMES, "", " a ", "é 日本", "a\nb", "a # b", "a: b"])
@pytest.mark.parametrize("read", [yaml.safe_load, yaml_load])
def test_text_stays_text(name, read):
    assert read(dump_yaml({"classes": [name, name], "name": name})) == {"classes": [name, name], "name": name}


@pytest.mark.parametrize("value", [1000.0, 1e-5, 3, True, None, [1.5, 2], {"a": {"b": []}}])
@pytest.mark.parametrize("read", [yaml.safe_load, yaml_load])
def test_other_values_stay_what_they_are(value, read):
    assert read(dump_yaml({"x": value})) == {"x": value}


def test_a_member_of_an_enumeration_is_its_name():
    assert yaml.safe_load(dump_yaml({"interval": Interval.step})) == {"interval": "step"}
