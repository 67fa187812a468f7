"""Settings given in Python of another type than they take are refused by name, value and remedy."""

import pytest
import torch
from torch import nn

from datamodules import Shapes, ShapesObjects
from modules.contracts import ConfigError, DataError
from modules.heads import Linear
from modules.necks import FPN
from modules.training.optim import Optim
from tasks import Classification, Detection, SimCLR, Translation
from tests.helpers.errors import refuses


@pytest.mark.parametrize(
    ("task", "setting", "value", "names"),
    [
        (Classification, "backbone", 3, [3, "Backbone"]),
        (Classification, "backbone", nn.Linear(3, 4), ["Linear", "Backbone"]),
        (Classification, "head", nn.Linear(3, 4), ["Linear", "'pretrained'", "ClassificationHead"]),
        (Classification, "head", "linear", ["'linear'", "'pretrained'", "ClassificationHead"]),
        (Classification, "optim", 0.1, [0.1, "Optim"]),
        (Classification, "output_stride", 7, [7, "8, 16, 32"]),
        (Detection, "neck", FPN.__name__, ["'FPN'", "Neck"]),
        (SimCLR, "optim", {"lr": 0.1}, ["dict", "Optim"]),
        (Translation, "search", 5, [5, "Search"]),
    ],
)
def test_a_setting_of_a_task_is_named(task, setting, value, names):
    with refuses(ConfigError, f"model.{setting}", *names):
        task(**{setting: value})


@pytest.mark.parametrize(("data", "value"), [(Shapes, "foo"), (Shapes, 3), (ShapesObjects, "foo")])
def test_a_setting_of_data_is_named(data, value):
    with refuses(ConfigError, "data.augment", repr(value), "'flip'", "a list"):
        data(augment=value)


def test_images_as_files_hold_them_are_refused_outside_of_a_trainer():
    task = Classification(backbone="test_resnet", head=Linear, classes=["a", "b"], optim=Optim(lr=0.1)).eval()
    image = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with refuses(DataError, "uint8", "normalized(image)"), torch.no_grad():
        task.predict_step({"image": image}, 0)
    with torch.no_grad():
        assert task.predict_step({"image": task.normalized(image)}, 0)["label"].shape == (2,)
