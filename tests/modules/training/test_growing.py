"""Deep VGGs that begin with a shallower one: the last of the fully connected layers too."""

from pathlib import Path

import pytest
import torch

from modules.backbones import by_name
from modules.contracts import Backbone, Weights
from modules.heads import Linear
from modules.training import transfer
from modules.training.growing import grow_head
from tasks import Classification
from tests.helpers.errors import assert_named

CLASSES = ["cat", "dog", "cow"]


def without_numbers(name: str) -> Backbone:
    with torch.device("meta"):
        return by_name(name)


def run(folder: Path, name: str = "torchvision/vgg11") -> tuple[Path, Linear]:
    """A run directory with a checkpoint of a network, its backbone left out, and the head in it."""
    head, path = Linear(without_numbers(name).features, 3), folder / "checkpoints" / "best.ckpt"
    path.parent.mkdir()
    checkpoint = {"state_dict": {f"head.{key}": value for key, value in head.state_dict().items()}}
    torch.save(checkpoint | {"backbone": {"name": name}, "hyper_parameters": {"classes": CLASSES}}, path)
    return path, head


def test_the_last_layer_of_a_shallower_vggs_run_goes_along_in_a_task(tmp_path, monkeypatch):
    path, trained = run(tmp_path)
    monkeypatch.setattr("tasks.initial_weights.load_backbone", lambda *_: "backbone: loaded")
    task = Classification(classes=CLASSES, backbone=without_numbers("vgg16_c"), weights=str(tmp_path))
    before = task.head.fc.weight.clone()
    task._load()
    assert torch.equal(task.head.fc.weight, trained.fc.weight) and not torch.equal(task.head.fc.weight, before)
    assert torch.equal(task.head.fc.bias, trained.fc.bias)
    assert_named(grow_head(task.head, CLASSES, task.backbone, str(path)), "fc.weight", "torchvision/vgg11", path)


def test_the_head_is_of_the_weights_that_the_run_exports(tmp_path):
    path, _ = run(tmp_path)
    averaged = path.rename(path.with_name("averaged.ckpt"))
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(b"is not read")
    deep = without_numbers("vgg16_c")
    assert_named(grow_head(Linear(deep.features, 3), CLASSES, deep, str(tmp_path)), "fc.weight", averaged)


def test_a_head_for_other_classes_starts_afresh(tmp_path):
    path, _ = run(tmp_path)
    deep = without_numbers("vgg16_c")
    for classes in (CLASSES[::-1], CLASSES[:2]):
        head = Linear(deep.features, len(classes))
        before = head.fc.weight.clone()
        assert_named(grow_head(head, classes, deep, str(tmp_path)), "head", "classes", path)
        assert torch.equal(head.fc.weight, before)


@pytest.mark.parametrize("name", ["vgg16_c", "resnet18"])
def test_nothing_grows_from_an_equal_or_another_network(tmp_path, name):
    run(tmp_path, name)
    deep = without_numbers("vgg16_c")
    head = Linear(deep.features, 3)
    before = head.fc.weight.clone()
    assert grow_head(head, CLASSES, deep, str(tmp_path)) == ""
    assert torch.equal(head.fc.weight, before)


def test_a_published_classifier_goes_along_with_its_layers(monkeypatch):
    shallow, deep = without_numbers("torchvision/vgg11"), without_numbers("torchvision/vgg13")
    last = {"classifier.6.weight": torch.rand(1000, 4096), "classifier.6.bias": torch.rand(1000)}
    weights = Weights(shallow.net.state_dict(), {"name": shallow.name}, "a file", last)
    monkeypatch.setattr(transfer, "_read", lambda *_: weights)
    classifier = deep.classifier()
    with torch.device("meta"):
        transfer.load_backbone(deep, "a file", classifier)
    torch.testing.assert_close(dict(classifier.state_dict()), last)
