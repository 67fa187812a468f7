"""Refused settings: the sentence names the setting, its value and all that it takes, for every type of setting."""

import inspect
from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentError, ArgumentParser

import callbacks  # noqa: F401  # classes that settings name
import datamodules
import modules.heads
import modules.necks  # noqa: F401
import tasks
from commands.errors import readable
from commands.setting_types import Part, find_class, parts
from tests.helpers.errors import assert_named

CLASSES = {"model": tasks.Task, "data": datamodules.DataModule}
SETTINGS = [
    pytest.param(section, cls, id=cls.__name__)
    for section, base, package in (("model", tasks.Task, tasks), ("data", datamodules.DataModule, datamodules))
    for cls in (getattr(package, name) for name in package.__all__)
    if inspect.isclass(cls) and issubclass(cls, base)
]


@pytest.fixture(scope="module")
def parser() -> ArgumentParser:
    made = ArgumentParser(exit_on_error=False)
    for section, base in CLASSES.items():
        made.add_subclass_arguments(base, section)
    made.add_argument("--config")
    return made


@pytest.fixture
def told(parser):
    """The sentence about arguments that are refused."""
    return lambda typed: readable("nothing found", parser, typed.split())


def refused(kind: object) -> str | None:
    """Text that the parser refuses for a type; null where it takes all text."""
    one = ArgumentParser(exit_on_error=False)
    one.add_argument("--value", type=kind)
    for value in ("no_such_value", "[no, such, value]"):
        try:
            one.parse_args([f"--value={value}"])
        except ArgumentError:
            return value
    return None


@pytest.mark.parametrize(("section", "cls"), SETTINGS)
def test_a_wrong_value_of_any_plain_setting_is_named_with_it(parser, section, cls):
    own = ArgumentParser(exit_on_error=False, add_help=False)
    own.add_class_arguments(cls)
    kinds = {action.dest: action._typehint for action in own._actions if hasattr(action, "_typehint")}
    wrong = {name: refused(kind) for name, kind in kinds.items() if not (name.endswith(".help") or parts(kind))}
    assert any(wrong.values())
    for name, value in wrong.items():
        if value is not None:
            typed = [f"--{section}={cls.__name__}", f"--{section}.{name}={value}"]
            assert_named(readable("nothing found", parser, typed), f"{section}.{name}", value)


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("--data Shapes --data.cache_on_device foo", ["data.cache_on_device", "foo", "true", "false", "'auto'"]),
        ("--data Shapes --data.crop 3", ["data.crop", "3", "two numbers", "[0.2, 1.0]"]),
        (
            "--data DetectionFolder --data.image_size big",
            ["data.image_size", "big", "a whole number", "[224, 224]", "null"],
        ),
        ("--data Shapes --data.batch_size 1.5", ["data.batch_size", "1.5", "a whole number"]),
        ("--model Detection --model.head UNet", ["model.head", "UNet", "FasterRCNN", "RetinaNet"]),
        ("--model Detection --model.head MaskRCNN", ["model.head", "MaskRCNN", "FasterRCNN"]),
        ("--model Detection --model.extra_metrics coco", ["model.extra_metrics", "coco", "'voc'", "'dsb2018'"]),
        ("--model Classification --model.head UNet", ["model.head", "UNet", "'pretrained'", "Linear"]),
        ("--model Classification --model.classes 3", ["model.classes", "3", "[cat, dog]", "null"]),
        ("--model Classification --model.head.help UNet", ["model.head", "UNet", "Linear"]),
        ("--model SimCLR --model.optim.optimizer Adammm", ["model.optim.optimizer", "Adammm", "'Adam'"]),
        ("--model SemanticSegmentation --model.neck FPM", ["model.neck", "FPM", "'FPN'"]),
        # settings of parts
        ("--model Classification --model.head.dropout much", ["model.head.dropout", "much", "a number"]),
        ("--model Classification --model.head.drop_out 0.1", ["--model.head.drop_out", "'--model.head.dropout'"]),
        ("--model SemanticSegmentation --model.head.rates [6]", ["model.head.rates", "--model.head DeepLabV3"]),
        ("--model SimCLR --model.temperatures 1", ["--model.temperatures", "'--model.temperature'"]),
        ("--data Shapes --data.root pets", ["--data.root", "CIFAR10"]),
        ("--data Shapes --data.lr 1", ["--data.lr", "--model.optim.lr"]),
        ("--data ImageFolder", ["--data.root"]),
        # options without a value
        ("--data Shapes --data.batch_size --model SimCLR", ["--data.batch_size", "no value"]),
        ("--data Shapes --data.batch_size", ["--data.batch_size", "no value"]),
        # values of another shape
        ("--model SimCLR --model.optim SGD", ["model.optim", "SGD"]),
        ("--model SimCLR --model.backbone {}", ["model.backbone", "{}", "Timm"]),
        ("--model Classification --model.head os.system", ["model.head", "os.system", "Linear"]),
        ("--model Classification --model.head ClassificationHead", ["model.head", "ClassificationHead", "forward"]),
    ],
)
def test_a_sentence_names_the_setting_its_value_and_all_that_it_takes(told, typed, names):
    assert_named(told(typed), *names)


def test_an_unknown_task_is_answered_with_tasks_only(told):
    said = told("--model NoSuch")
    assert_named(said, "model", "NoSuch", "SimCLR", "Detection", "tasks.base.Task")
    assert not {"NoNeck", "FPN", "Shapes"} & set(said.replace(",", " ").split())


def test_a_class_of_another_kind_is_no_suggestion(told):
    assert "did you mean" not in told("--model Detection --model.head UNet")


@pytest.mark.parametrize(
    ("file", "text", "names"),
    [
        ("absent", "", ["there is no module 'my_absent'"]),
        ("empty", "x = 1\n", ["'my_empty'", "'Mine'"]),
        ("close", "class Mind:\n    pass\n", ["'my_close'", "'Mine'", "'Mind'"]),
        ("broken", "import not_installed_package\n", ["my_broken", "not_installed_package", "my_broken.py", "line 1"]),
        ("failing", "\nraise RuntimeError('no license')\n", ["my_failing", "RuntimeError: no license", "line 2"]),
        ("plain", "class Mine:\n    pass\n", ["tasks.base.Task"]),
    ],
)
def test_a_class_that_cannot_be_imported_is_named_with_the_reason(told, monkeypatch, tmp_path, file, text, names):
    if text:
        (tmp_path / f"my_{file}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert_named(told(f"--model my_{file}.Mine"), "model", f"my_{file}.Mine", *names)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (
            {"data": {"class_path": "Shapes", "init_args": {"crop": [1, 2, 3]}}},
            ["data.crop", "[1, 2, 3]", "two numbers"],
        ),
        ({"data": {"class_path": "Shapes", "init_args": 3}}, ["data.init_args"]),
        ({"data": {"class_path": "Shapes", "init_args": {"batch": 3}}}, ["data.batch", "--data.batch_size"]),
        (
            {"model": {"class_path": "DINO", "init_args": {"head": {"class_path": "Projection"}}}},
            ["model.head", "Projection", "Prototypes", "modules.heads.base.PrototypeHead"],
        ),
        (
            {
                "model": {
                    "class_path": "SimCLR",
                    "init_args": {"head": {"class_path": "Projection", "init_args": {"a": 1}}},
                }
            },
            ["model.head.a", "layers", "hidden"],
        ),
    ],
)
def test_a_yaml_is_answered_as_a_command_is(parser, tmp_path, settings, names):
    file = Path(tmp_path, "mine.yaml")
    file.write_text(yaml.safe_dump(settings))
    assert_named(readable("nothing found", parser, ["--config", str(file)]), *names)
    section, part = next(iter(settings.items()))
    assert_named(
        readable("nothing found", parser, [f"--{section}", yaml.safe_dump(part, default_flow_style=True)]), *names
    )


def test_right_settings_leave_the_parsers_own_message(told):
    right = "--model SimCLR --model.head Projection --model.head.layers 3 --model.backbone resnet18 --data Shapes"
    assert told(f"{right} --data.crop [0.2,1] --data.cache_on_device auto --model.weights null") == "nothing found"


def test_two_classes_of_one_name_are_named_with_both_paths():
    class Base:
        pass

    made = [type("Twin", (Base,), {"__module__": place, "__qualname__": "Twin"}) for place in ("ours", "plugin")]
    with pytest.raises(LookupError) as caught:
        find_class("Twin", Part(Base))
    assert_named(str(caught.value), *(f"{cls.__module__}.Twin" for cls in made))
