"""Options that are known before the full parse, however they are typed."""

from pathlib import Path

import pytest

from commands.arguments import configs_first, find_config, parse_known, run_name, typed_class, without
from tests.helpers.commands import ROOT


@pytest.mark.parametrize(
    "typed",
    [
        ["--ckpt_path", "a run"],
        ["--ckpt_path=a run"],
        ["--ckpt_path", "first", "--ckpt_path", "a run"],
        ["--ckpt_path", "null", "--ckpt_path=a run", "--data.root", "--ckpt_paths"],
    ],
)
def test_the_last_value_of_either_spelling_counts(typed):
    assert parse_known(["test", *typed]).ckpt_path == "a run"


def test_null_is_as_if_not_typed_and_a_missing_value_is_left_to_the_parser():
    assert parse_known(["fit", "--ckpt_path", "null", "--model.weights=null"]).ckpt_path is None
    assert parse_known(["fit", "--ckpt_path", "--run_dir", "x"]).run_dir == "x"
    assert parse_known(["fit", "--model.help", "SimCLR", "--model.head.dropout", "-1"]).model is None


def test_a_class_is_found_by_its_name_its_path_and_in_yaml(tmp_path):
    (tmp_path / "model.yaml").write_text("class_path: tasks.SimCLR\n")
    (tmp_path / "run.yaml").write_text(f"model: {tmp_path / 'model.yaml'}\n")
    spellings = [["--model", "SimCLR"], ["--model.class_path=SimCLR"], ["--model", '{"class_path": "SimCLR"}']]
    spellings += [["--model", str(tmp_path / "model.yaml")], ["-c", str(tmp_path / "run.yaml")]]
    assert {typed_class(["fit", *typed], "model") for typed in spellings} == {"SimCLR"}
    assert typed_class(["fit", "--config", str(tmp_path / "none.yaml")], "model") is None
    assert typed_class(["fit", "--model", "none.yaml"], "model") is None
    assert typed_class(["fit", "-c", str(tmp_path / "run.yaml"), "-c", "{data: Shapes}"], "model") == "SimCLR"


def test_a_run_is_named_by_its_last_yaml_file_else_by_its_task_however_that_is_typed():
    inline = ["--config", "{model: {class_path: tasks.SimCLR}, data: {init_args: {root: a/b}}}"]
    assert run_name(["fit", *inline]) == "simclr"
    assert run_name(["fit", "--config", "tasks/moco.yaml", *inline]) == "moco"
    assert run_name(["fit", "--model", "{class_path: SimCLR, init_args: {temperature: 1}}"]) == "simclr"
    assert run_name(["fit", "--config", "{data: Shapes}"]) == "run"


def test_other_options_stay_as_they_are_and_in_order():
    kept = [
        "fit",
        "--trainer.callbacks+=KNN",
        "--data.crop",
        "[0.5,1]",
        "--run",
        "-1",
        "--model.weights=a",
        "--x",
        "b c",
    ]
    assert without([*kept[:4], "--run_dir=a", *kept[4:], "--run_dir", "b"], "--run_dir") == kept


def test_typed_options_stand_behind_every_config_so_that_they_win():
    argv = ["test", "--data.root", "x", "-c", "a.yaml", "--config=b.yaml", "--model.frozen=true"]
    first = ["test", "--config", "a.yaml", "--config", "b.yaml", "--config", "{}"]
    assert configs_first(argv, "{}") == [*first, "--data.root", "x", "--model.frozen=true"]


def test_tasks_are_found_from_any_folder_and_own_files_go_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("tasks/simclr.yaml") == str(ROOT / "tasks/simclr.yaml")
    assert find_config("simclr.yaml") == "simclr.yaml" and find_config("tasks/none.yaml") == "tasks/none.yaml"
    Path("tasks").mkdir()
    Path("tasks/simclr.yaml").write_text("model: Mine\n")
    assert find_config("tasks/simclr.yaml") == "tasks/simclr.yaml"
    assert find_config('{"model": "SimCLR", "data": "https://x"}') == '{"model": "SimCLR", "data": "https://x"}'
