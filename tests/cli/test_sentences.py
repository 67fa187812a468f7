"""Golden error messages, one per kind of mistake. Other tests assert settings and values only."""

from pathlib import Path

import pytest
from PIL import Image

from commands.overview import COMMANDS
from tests.helpers.annotated import annotation, coco

SIMCLR = ["fit", "--config", "tasks/simclr.yaml"]
SMALL = "--data.train 40 --data.val 20 --data.test 20 --data.batch_size 10 --data.image_size 32".split()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        pytest.param(
            ["fti", *SIMCLR[1:]],
            f"there is no command 'fti': choose from {', '.join(COMMANDS)}; did you mean 'fit'?",
            id="typo of a command",
        ),
        pytest.param(
            ["fit", "--config", "tasks/simclr.yml"],
            "there is no file tasks/simclr.yml; did you mean 'simclr.yaml'?",
            id="unknown task",
        ),
        pytest.param(
            [*SIMCLR, "--model.bakcbone", "resnet18"],
            "there is no option --model.bakcbone; did you mean '--model.backbone'?",
            id="typo of an option",
        ),
        pytest.param(
            [*SIMCLR, "--figures.samplez", "1"],
            "there is no option --figures.samplez; did you mean '--figures.samples'?",
            id="typo of an option of a callback",
        ),
        pytest.param(
            ["fit", "--confg", "tasks/simclr.yaml"],
            "there is no option --confg; did you mean '--config'?",
            id="typo of a top-level option",
        ),
        pytest.param(
            ["fit"],
            "fit needs a task and its data: add --config tasks/NAME.yaml, such as tasks/classification.yaml, or "
            "--model and --data",
            id="no task",
        ),
        pytest.param(
            [*SIMCLR, "--lr", "1"],
            "there is no option --lr: it is --model.optim.lr here",
            id="option of another program",
        ),
        pytest.param(
            ["fit", "--model", "SimCLRR", "--data", "Shapes"],
            "model: there is no class 'SimCLRR'; did you mean 'SimCLR'?",
            id="typo of a class",
        ),
        pytest.param(
            [*SIMCLR, "--data.batch_size", "many"],
            "data.batch_size is 'many', but must be a whole number",
            id="wrong type",
        ),
        pytest.param(
            [*SIMCLR, "--model.optim.schedule", "cosin"],
            "model.optim.schedule is 'cosin', but must be 'constant', 'cosine', 'linear', 'step', 'inverse_sqrt' or "
            "'plateau'; did you mean 'cosine'?",
            id="wrong choice",
        ),
        pytest.param(
            [*SIMCLR, "--data.crop", "[0.5,2.0]"],
            "data.crop is [0.5, 2.0], but it is a range of area fractions like [0.2, 1.0]",
            id="value out of range",
        ),
        pytest.param(
            ["test", "--config", "tasks/classification.yaml"],
            "test needs weights: add --ckpt_path with a .ckpt file, a run directory, or `latest` for "
            "runs/classification/latest",
            id="missing setting",
        ),
        pytest.param(
            ["fit", "--config", "tasks/detection.yaml", "--data", "Shapes", *SMALL],
            "Detection needs image, boxes, labels, but Shapes gives id, image, label: choose other --data or --config",
            id="wrong data kind",
        ),
    ],
)
def test_a_wrong_command(refused, typed, said):
    assert refused(2, typed) == said


def damaged_image() -> tuple[list[str], str]:
    Path("pets/cat").mkdir(parents=True)
    for name in ("0.jpg", "1.jpg"):
        Image.new("RGB", (64, 64)).save(Path("pets/cat", name))
    broken = Path("pets/cat/1.jpg")
    broken.write_bytes(broken.read_bytes()[:-200])
    return (
        [*SIMCLR, "--data", "ImageFolder", "--data.root", "pets"],
        "1 of 2 images cannot be used: pets/cat/1.jpg is no image that can be decoded: mend or remove them, or set "
        "--data.on_error skip",
    )


def wrong_annotation() -> tuple[list[str], str]:
    coco(Path("cells"), [annotation(), annotation(category=5)])
    return (
        ["fit", "--config", "tasks/detection.yaml", "--data", "DetectionFolder", "--data.root", "cells"],
        "cells/annotations/instances_train.json annotations[1] has category_id 5, which its categories lack: add it "
        "to them",
    )


def weights_that_are_none() -> tuple[list[str], str]:
    Path("notes.ckpt").write_text("not weights")
    return (
        [*SIMCLR, "--model.weights", "notes.ckpt"],
        "notes.ckpt is not a checkpoint of plain tensors (cut short, or it holds code): it was not loaded",
    )


def run_directory_in_use() -> tuple[list[str], str]:
    Path("run").mkdir()
    Path("run/config.yaml").write_text("model: SimCLR")
    return (
        [*SIMCLR, *SMALL, "--run_dir", "run"],
        "run directory run is in use: it holds another run; choose another --run_dir, or resume that run with "
        "--ckpt_path run",
    )


def missing_folder() -> tuple[list[str], str]:
    return [*SIMCLR, "--data", "ImageFolder", "--data.root", "nowhere"], "data.root nowhere is not a folder"


def batch_that_is_too_large() -> tuple[list[str], str]:
    return (
        [*SIMCLR, *SMALL, "--data.batch_size", "41"],
        "data.batch_size 41 on 1 device(s) is larger than the training set of 40 images: choose at most 40",
    )


@pytest.mark.parametrize(
    "mistake",
    [
        missing_folder,
        damaged_image,
        wrong_annotation,
        batch_that_is_too_large,
        weights_that_are_none,
        run_directory_in_use,
    ],
)
def test_wrong_data_and_files(refused, mistake):
    typed, said = mistake()  # in the folder that the fixture went to
    assert refused(1, typed) == said
