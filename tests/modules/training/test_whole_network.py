"""Networks that begin with an earlier run of their task: rows of classes by name."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from modules.contracts import ConfigError, DataError
from modules.heads import Linear
from modules.heads.detection import DETR, FCOS, SSD, FasterRCNN, MaskRCNN, RetinaNet
from modules.necks import FPN
from tasks import (
    Classification,
    Detection,
    InstanceSegmentation,
    MultilabelClassification,
    SemanticSegmentation,
    SimCLR,
)
from tests.helpers.errors import refuses

OLD, NEW = ["cat", "dog", "cow"], ["bird", "dog", "cat", "fish"]
PAIRS = [(1, 1), (2, 0)]  # dog and cat: here, there
NET = {"backbone": "test_resnet"}


def saved(task, path: Path) -> str:
    """The checkpoint of a task whose parameters are all different numbers."""
    with torch.no_grad():
        for number, parameter in enumerate(task.parameters()):
            parameter.copy_(torch.linspace(number, number + 1, parameter.numel()).view_as(parameter))
    about = {"backbone": {"name": "test_resnet"}, "task": type(task).__name__, "epoch": 2}
    torch.save({"state_dict": task.state_dict(), "hyper_parameters": {"classes": task.classes}} | about, path)
    return str(path)


def started(make, path: Path):
    """A task of NEW that begins with one of OLD, and that one."""
    old = make(classes=OLD)
    new = make(classes=NEW, init_from=saved(old, path))
    before = {key: tensor.clone() for key, tensor in new.state_dict().items()}
    new._load()
    return new.state_dict(), old.state_dict(), before


def test_a_classifier_keeps_the_rows_of_classes_of_the_same_name(tmp_path):
    new, old, before = started(partial(Classification, **NET), tmp_path / "a.ckpt")
    for here, there in PAIRS:
        assert torch.equal(new["head.fc.weight"][here], old["head.fc.weight"][there])
        assert new["head.fc.bias"][here] == old["head.fc.bias"][there]
    assert torch.equal(new["head.fc.weight"][[0, 3]], before["head.fc.weight"][[0, 3]])
    assert all(torch.equal(new[key], old[key]) for key in old if key.startswith("backbone.net."))


def grouped(tensor: Tensor, classes: int) -> Tensor:
    """Rows of layers whose groups have a row of every class, as (groups, classes, ...)."""
    return tensor.unflatten(0, (-1, classes))


@pytest.mark.parametrize(
    ("head", "name", "ground"),
    [
        (partial(FasterRCNN, hidden=8), "head.roi_heads.box_predictor.cls_score.weight", 1),
        (RetinaNet, "head.net.head.classification_head.cls_logits.weight", 0),
        (partial(DETR, width=16, layers=1), "head.decoder.classifiers.0.weight", 0),
        (partial(DETR, width=16, layers=1), "head.denoising.classes.weight", 0),
        (FCOS, "head.net.head.classification_head.cls_logits.weight", 0),
        (SSD, "head.net.head.classification_head.module_list.0.weight", 1),
    ],
)
def test_detectors_keep_the_rows_of_every_anchor_and_of_the_background(tmp_path, head, name, ground):
    neck = partial(FPN, channels=32)
    new, old, before = started(partial(Detection, **NET, head=head, neck=neck), tmp_path / "a.ckpt")
    now, then, first = (grouped(one[name], len(c) + ground) for one, c in ((new, NEW), (old, OLD), (before, NEW)))
    for here, there in [*((a + ground, b + ground) for a, b in PAIRS), *([(0, 0)] if ground else [])]:
        assert torch.equal(now[:, here], then[:, there])
    assert torch.equal(now[:, ground], first[:, ground]) and not torch.equal(now[:, ground + 1], first[:, ground + 1])


def test_offsets_and_masks_of_a_class_go_along(tmp_path):
    make = partial(InstanceSegmentation, **NET, head=partial(MaskRCNN, hidden=8), neck=partial(FPN, channels=16))
    new, old, _ = started(make, tmp_path / "a.ckpt")
    (boxes,) = (key for key in new if key.endswith("box_predictor.bbox_pred.weight"))
    (masks,) = (key for key in new if key.endswith("mask_fcn_logits.weight"))
    for here, there in PAIRS:
        offsets = slice(4 * (here + 1), 4 * (here + 2)), slice(4 * (there + 1), 4 * (there + 2))
        assert torch.equal(new[boxes][offsets[0]], old[boxes][offsets[1]])
        assert torch.equal(new[masks][here + 1], old[masks][there + 1])
    assert torch.equal(new[boxes][:4], old[boxes][:4])


def test_the_neck_and_layers_without_classes_are_copied_whole(tmp_path):
    new, old, _ = started(partial(SemanticSegmentation, **NET), tmp_path / "a.ckpt")
    same = [key for key in old if new[key].shape == old[key].shape]
    assert len(same) >= len(old) - 3 and all(torch.equal(new[key], old[key]) for key in same)


def test_classes_in_another_order_are_sorted_into_it(tmp_path):
    path = saved(old := Classification(**NET, classes=OLD), tmp_path / "a.ckpt")
    new = Classification(**NET, classes=OLD[::-1], init_from=path)
    new._load()
    assert torch.equal(new.head.fc.weight, old.head.fc.weight.flip(0))


def test_a_layer_of_another_size_starts_afresh(tmp_path):
    head = partial(Detection, **NET, neck=partial(FPN, channels=16))
    path = saved(head(classes=OLD, head=partial(FasterRCNN, hidden=8)), tmp_path / "a.ckpt")
    new = head(classes=OLD, head=partial(FasterRCNN, hidden=16), init_from=path)
    before = new.head.roi_heads.box_head.fc6.weight.clone()
    new._load()
    assert torch.equal(new.head.roi_heads.box_head.fc6.weight, before)


def test_what_has_no_classes_or_is_of_another_task_is_refused(tmp_path):
    path = saved(Classification(**NET, classes=OLD), tmp_path / "a.ckpt")
    with refuses(ConfigError, "model.init_from", "SimCLR", "--model.weights"):
        SimCLR(**NET, init_from=path)._load()
    with refuses(ConfigError, "Classification", "MultilabelClassification", "--model.weights"):
        MultilabelClassification(**NET, classes=OLD, init_from=path)._load()
    with refuses(DataError, tmp_path / "none", ".ckpt"):
        Classification(**NET, classes=OLD, init_from=str(tmp_path / "none"))._load()
    with refuses(ConfigError, "model.init_from", "model.weights"):
        Classification(**NET, classes=OLD, init_from=path, weights=path)
    with refuses(ConfigError, "model.init_from", "model.init"):
        Classification(**NET, classes=OLD, init_from=path, init="zeros", head=Linear)
