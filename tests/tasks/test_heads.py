"""Heads by task: each task takes the heads of one base class, in Python and from the parser, and refuses all others."""

from functools import cache, partial

import pytest
import torch
from jsonargparse import ArgumentError, ArgumentParser
from torch import Tensor, nn

import modules.heads
from modules.contracts import ConfigError, Features
from modules.heads import (
    ClassificationHead,
    DenseHead,
    DetectionHead,
    EmbeddingHead,
    Head,
    InstanceHead,
    KeypointHead,
    MaskQueryHead,
    PrototypeHead,
)
from modules.heads.base import kinds
from modules.necks import FPN, NoNeck
from tasks import (
    BYOL,
    DINO,
    NNCLR,
    BarlowTwins,
    Classification,
    Detection,
    InstanceSegmentation,
    Keypoints,
    LeJEPA,
    MaskedPatches,
    MoCo,
    MoCoV3,
    SemanticSegmentation,
    SimCLR,
    SimSiam,
    SupCon,
    SwAV,
    VICReg,
    Video,
)
from tests.helpers.errors import refuses

TASKS = {
    Classification: ClassificationHead,
    Video: ClassificationHead,
    SemanticSegmentation: DenseHead,
    MaskedPatches: DenseHead,
    SimCLR: EmbeddingHead,
    BYOL: EmbeddingHead,
    MoCo: EmbeddingHead,
    MoCoV3: EmbeddingHead,
    SimSiam: EmbeddingHead,
    BarlowTwins: EmbeddingHead,
    LeJEPA: EmbeddingHead,
    NNCLR: EmbeddingHead,
    SupCon: EmbeddingHead,
    SwAV: EmbeddingHead,
    VICReg: EmbeddingHead,
    DINO: PrototypeHead,
    Detection: DetectionHead,
    InstanceSegmentation: InstanceHead,
    Keypoints: KeypointHead,
}
QUERIES = (SemanticSegmentation, InstanceSegmentation)  # take mask queries too, in an adapter
SETTINGS = {
    Classification: {"classes": ["a", "b"]},
    Video: {"classes": ["a", "b"], "frames": 2},
    SemanticSegmentation: {"classes": ["a", "b"]},
    MoCo: {"queue_size": 8},
    NNCLR: {"queue_size": 8},
    DINO: {"prototypes": 8},
    Keypoints: {"keypoints": ["left_ear", "right_ear"]},
}
LEVELS = {"RetinaNet": {"levels": 3, "extra": "p6p7"}, "FCOS": {"levels": 3, "extra": "p6p7"}}
WITHOUT_NECK = ("EoMT", "RCNN", "SSD", "SingleObject")
HEADS = {
    name: head
    for name in modules.heads.__all__
    if isinstance(head := getattr(modules.heads, name), type)
    and issubclass(head, Head)
    and not head.__abstractmethods__
}


@cache
def parser(task: type) -> ArgumentParser:
    made = ArgumentParser(exit_on_error=False)
    made.add_class_arguments(task)
    return made


def detecting(task: type, name: str) -> dict:
    if not issubclass(task, Detection):
        return {}
    neck = NoNeck if name in WITHOUT_NECK else partial(FPN, channels=32, **LEVELS.get(name, {"extra": "pool"}))
    return {"classes": ["a", "b"], "neck": neck}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_a_task_takes_the_heads_of_its_base_and_refuses_all_others(task, name):
    backbone = "test_vit" if name == "EoMT" else "test_resnet"
    head, build = HEADS[name], partial(task, backbone=backbone, **SETTINGS.get(task, {}), **detecting(task, name))
    if issubclass(head, TASKS[task]):
        assert isinstance(build(head=head).head, head)
        assert parser(task).parse_args(["--head", name]).head.class_path.endswith(f".{name}")
        return
    if issubclass(head, MaskQueryHead) and task in QUERIES:
        assert isinstance(build(head=head).head.net, head)
        assert parser(task).parse_args(["--head", name]).head.class_path.endswith(f".{name}")
        return
    with refuses(ConfigError, "model.head", name, TASKS[task].__name__):
        build(head=head)
    with pytest.raises(ArgumentError):
        parser(task).parse_args(["--head", name])


def test_every_base_has_heads_and_every_head_has_one_base():
    bases = {*TASKS.values(), MaskQueryHead}
    assert sorted(name for base in bases for name in kinds(base) if name in HEADS) == sorted(HEADS)


def test_a_factory_of_a_head_that_does_not_fit_is_refused_too():
    with refuses(ConfigError, "model.head", "UNet", "Linear", "FullyConnected"):
        Classification(backbone="test_resnet", classes=["a", "b"], head=lambda f, c: modules.heads.UNet(f, c))


class MyHead(ClassificationHead):
    """Head as a user writes it: its layers and `forward`."""

    pools = True

    def __init__(self, features: Features, outputs: int, width: int = 4):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features.pooled, width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)


class OfNoBase(nn.Module):
    def __init__(self, features: Features, outputs: int):
        super().__init__()


def test_an_own_head_needs_its_layers_and_forward_only():
    task = Classification(backbone="test_resnet", classes=["a", "b"], head=MyHead)
    images = task.backbone.normalize(torch.rand(2, 3, 32, 32))
    logits = task(images)
    assert task.head.probabilities(logits).sum(1).tolist() == pytest.approx([1, 1])
    assert task.head.loss(logits, logits.argmax(1)).ndim == 0 and not task.head.weighted


def test_an_own_head_is_named_by_its_path_with_its_settings():
    path = f"{MyHead.__module__}.MyHead"
    found = parser(Classification).parse_args(["--head", path, "--head.width", "8"]).head
    assert (found.class_path, found.init_args.width) == (path, 8)


def test_a_module_that_is_no_head_is_refused():
    with refuses(ConfigError, "model.head", "OfNoBase", "modules.heads.base.ClassificationHead"):
        Classification(backbone="test_resnet", classes=["a", "b"], head=OfNoBase)
