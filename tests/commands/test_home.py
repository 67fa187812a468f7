"""`~` is the home folder wherever a path can be written."""

from pathlib import Path

import pytest
from jsonargparse import Namespace

from commands.home import expand_home, expand_word
from datamodules import ImageFolder, UnlabeledImages
from modules.contracts import ConfigError
from tests.helpers.errors import refuses


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("option", ["--run_dir", "--ckpt_path", "--config", "--data.root", "--model.weights"])
def test_words_of_a_command_line_are_expanded(home, option):
    assert expand_word(f"{option}=~/runs/a") == f"{option}={home}/runs/a"
    assert expand_word("~/runs/a") == f"{home}/runs/a"


@pytest.mark.parametrize("word", ["--data.root=a/~/b", "~tilde", "--model.name=~x", "-", "~nobody-of-that-name/a"])
def test_other_words_stay(home, word):
    assert expand_word(word) == word


def test_a_user_that_does_not_exist_is_named():
    with refuses(ConfigError, "~nobody-of-that-name/pets"):
        expand_home(Namespace(root="~nobody-of-that-name/pets"))


def test_settings_of_a_yaml_are_expanded_at_any_depth(home):
    data, callbacks = Namespace(init_args=Namespace(root="~/pets")), [Namespace(dirpath="~/x")]
    settings = Namespace(data=data, callbacks=callbacks, lr=0.1)
    expand_home(settings)
    assert settings["data.init_args.root"] == f"{home}/pets"
    assert settings.callbacks[0].dirpath == f"{home}/x"
    assert settings.lr == 0.1


def test_data_modules_made_in_python_take_it_too(home, image_folder):
    image_folder({"a": 2, "b": 2}, name="pets")
    assert ImageFolder("~/pets").classes == ["a", "b"]
    data = UnlabeledImages("~/pets")
    data.setup("predict")
    assert len(data.splits["train"][1]) == 4
