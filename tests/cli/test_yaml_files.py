"""YAML files of settings: mistakes are named by file and line, before anything is trained."""

import os
import shutil
from pathlib import Path

import pytest

from commands.yaml_text import read_settings, settings_in
from modules.contracts import ConfigError, DataError
from tests.helpers.errors import refuses


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("trainer:\n  max_epochs: 1\nmodel: SimCLR\ntrainer:\n  max_steps: 3\n", ["line 4", "trainer", "line 1"]),
        ("model: {init_args: {optim: {lr: 0.002, lr: 9}}}", ["line 1", "lr"]),
        ("", ["empty"]),
        ("# nothing\n", ["empty"]),
        ("null", ["empty"]),
        ("- 1\n", ["list"]),
        ("some text", ["some text"]),
        ("a: &a [*a]", ["line 1"]),
        ("model:\n  init_args: &b\n    x: *b\n", ["line 2"]),
        ("model:\n\tx: 3\n", ["line 2"]),
        ("model: 'x\n", ["line"]),
        ("1: 2", ["line 1", "1"]),
        ("a: !!python/object:os.system {}", ["line 1"]),
        ("a: 2020-99-99", ["a.yaml"]),
        ("[" * 3000, ["a.yaml"]),
    ],
)
def test_yaml_that_would_be_misread_is_named(text, names):
    with refuses(ConfigError, "a.yaml", *names):
        settings_in(text, "a.yaml")


def test_aliases_and_merged_keys_are_read():
    text = "base: &b {x: 1}\nmodel: {<<: *b, x: 2}\ndata: {<<: *b, z: {1: 2, 3: 4}}\n"
    assert settings_in(text, "a.yaml") == {"base": {"x": 1}, "model": {"x": 2}, "data": {"x": 1, "z": {1: 2, 3: 4}}}


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    for name in ("latin.yaml", "", "missing.yaml"):
        with refuses(DataError, tmp_path / name):
            read_settings(tmp_path / name, DataError)


@pytest.mark.parametrize("kind", ["loop", "pipe"])
def test_a_config_that_is_no_file_is_not_its_own_suggestion(refused, tmp_path, kind):
    (tmp_path / "x.yaml").symlink_to("x.yaml") if kind == "loop" else os.mkfifo(tmp_path / "x.yaml")
    assert "did you mean" not in refused(2, ["fit", "--config", "x.yaml"], "x.yaml")


def test_a_damaged_file_of_the_run_is_named_on_resume(graft, refused, trained, tmp_path):
    shutil.copytree(trained, "run")
    again = ["fit", "--config", "run/config.yaml", "--ckpt_path", "run", "--trainer.max_epochs", "2"]
    shutil.copy("run/config.yaml", "whole.yaml")
    again[2] = "whole.yaml"
    (tmp_path / "run" / "config.yaml").write_text("trainer:\n\tx")
    refused(1, again, "run/config.yaml", "line 2")
    shutil.copy("whole.yaml", "run/config.yaml")
    (tmp_path / "run" / "metrics.csv").write_bytes(b"step,epoch\n1,2,3,4\n")
    code, said = graft(*again)
    assert code == 1 and "metrics.csv, line 2" in said


FIT = ["fit", "--config", "tasks/classification.yaml"]


@pytest.mark.parametrize(
    ("yaml", "typed", "names"),
    [
        ("model: [Classification]", [], ["model", "['Classification']"]),
        ("model: {class_path: [a]}", [], ["model", "['a']"]),
        ("model: {class_path: Classification, init_args: []}", [], ["model.init_args", "[]"]),
        ("model: {class_path: Classification, init_args: {head: [Linear]}}", [], ["model.head", "['Linear']"]),
        ("model:", [], ["--model"]),
        ("", ["--model.init_args.backbone.class_path", "foo"], ["model.backbone", "'foo'"]),
        ("", ["--model.head.class_weights", "[.nan,1]"], ["model.head.class_weights", "nan"]),
    ],
)
def test_values_of_other_shapes_are_named(refused, yaml, typed, names):
    Path("x.yaml").write_text(f"{yaml}\ndata: Shapes\n")
    argv = ["fit", "--config", "x.yaml"] if yaml else [*FIT, *typed]
    assert "Parser key" not in refused(2, argv, *names)


def test_names_that_are_not_utf8_are_shown(refused, tmp_path):
    odd = os.fsdecode(b"pets\xff")
    for option in ("--run_dir", "--data.root", "--model.backbone"):
        refused(2, [*FIT, option, odd], option, "xff")
    Path("photos", "train", os.fsdecode(b"\xff\xe9")).mkdir(parents=True)
    refused(1, [*FIT, "--data", "ImageFolder", "--data.root", "photos"], "photos/train", "xff")
