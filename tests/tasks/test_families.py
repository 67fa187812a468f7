"""One network of each family: a training step in classification, segmentation and detection, or a refusal."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from modules.backbones import Timm, by_name
from modules.backbones.reach import survey
from modules.contracts import Backbone, ConfigError
from modules.heads.detection import FasterRCNN
from modules.necks import FPN
from tasks import Classification, Detection, SemanticSegmentation
from tasks.vision import VisionTask
from tests.helpers.errors import refuses

SIDE = 96
FAMILIES = [
    "alexnet",
    "convnext_atto",
    "densenet121",
    "ecaresnet26t",
    "efficientnet_b0",
    "ghostnet_050",
    "googlenet",
    "inception_resnet_v2",
    "inception_v3",
    "inception_v4",
    "legacy_seresnet18",
    "legacy_xception",
    "mobilenetv1_100",
    "mobilenetv2_035",
    "mobilenetv3_small_050",
    "repvgg_a0",
    "resnest14d",
    "resnet18",
    "resnet50_clip",
    "resnetv2_18",
    "resnext50_32x4d",
    "seresnet18",
    "shufflenet_v2_x0_5",
    "skresnet18",
    "squeezenet1_1",
    "swin_tiny_patch4_window7_224",
    "torchvision/mobilenet_v3_small",
    "vgg11",
    "vit_tiny_patch16_224",
]
OURS = [
    "alexnet_half",
    "bn_inception",
    "densenet264",
    "effnet",
    "hardnet39ds",
    "inception_resnet_v1",
    "inception_v1",
    "lenet5",
    "mobilenetv1_025",
    "plain18",
    "resnet18_a",
    "shufflenetv1_g1",
    "squeezenet_bypass",
    "vgg16_c",
    "vitc_1gf",
    "wide_resnet16_4",
]
THIN = {"vgg11": {"mlp_ratio": 1 / 64}, "vgg16_c": {"hidden": 64}}  # else 120 million weights lie behind the maps


def batch() -> dict:
    """Two noisy images with a bright square, which is the object."""
    image = torch.randint(0, 100, (2, 3, SIDE, SIDE), dtype=torch.uint8)
    image[..., 30:70, 20:60] += 150
    mask = torch.zeros(2, SIDE, SIDE, dtype=torch.long)
    mask[:, 30:70, 20:60] = 1
    sides = torch.tensor([[SIDE, SIDE]] * 2)
    objects = {"boxes": [torch.tensor([[20.0, 30, 60, 70]])] * 2, "labels": [torch.tensor([1])] * 2}
    return {"image": image, "label": torch.tensor([0, 1]), "mask": mask, "inside": sides, "size": sides} | objects


def task(name: str, backbone: str) -> VisionTask:
    settings = {"backbone": backbone, "classes": ["dark", "light"]}
    if name == "classification":
        return Classification(**settings)
    if name == "segmentation":
        return SemanticSegmentation(**settings)
    small = {"neck": lambda f: FPN(f, 32, levels=3), "head": lambda f, c: FasterRCNN(f, c, hidden=32, samples=32)}
    return Detection(**settings, **small)


def step(model) -> Tensor:
    model.log_step = lambda *_: None
    loss = model.training_step(model.on_after_batch_transfer(batch(), 0), 0)
    loss.backward()
    return loss.detach()


TASKS = ("classification", "segmentation", "detection")


@pytest.fixture
def in_every_task(monkeypatch) -> Callable[[Backbone], Iterator[VisionTask]]:
    """Makes the tasks of a network, which share its weights and what is known of it: both take seconds if it is large.

    A task is to be used up before the next is made, which takes its gradients away.
    """

    def make(network: Backbone) -> Iterator[VisionTask]:
        reach, trained = survey(network), [p for p in network.parameters() if p.requires_grad]
        monkeypatch.setattr("tasks.vision.survey", lambda _: reach)
        for kind in TASKS:
            for parameter in trained:
                parameter.requires_grad_(True).grad = None
            twin = copy.deepcopy(network, {id(p): p for p in network.parameters()})
            monkeypatch.setattr("tasks.vision.by_name", lambda *_, twin=twin: twin)  # Lightning copies other arguments
            yield task(kind, network.name)

    return make


@pytest.mark.parametrize("name", FAMILIES + OURS)
def test_one_of_a_family_trains_a_step_in_every_task(name, in_every_task):
    kinds = set()
    for model in in_every_task(Timm(name, options=THIN[name]) if name in THIN else by_name(name)):
        assert step(model).isfinite()
        trained = {key: p.grad for key, p in model.backbone.named_parameters() if p.requires_grad}
        assert trained and all(g is not None and g.isfinite().all() for g in trained.values()), type(model)
        kinds.add(type(model))
    assert len(kinds) == len(TASKS)


def test_attention_layers_train_in_every_task(in_every_task):
    for model in in_every_task(Timm("resnet18", attention="cbam")):
        assert step(model).isfinite()
        assert all(p.grad is not None for p in model.backbone.parameters() if p.requires_grad)


def test_a_network_for_one_size_trains_when_built_for_it(in_every_task):
    for model in in_every_task(Timm("maxvit_pico_rw_256", image_size=SIDE)):
        assert step(model).isfinite()
    names = ("maxvit_pico_rw_256", "96 x 96", "--data.image_size 256", "--model.backbone.image_size")
    for model in in_every_task(by_name("maxvit_pico_rw_256")):
        with refuses(ConfigError, *names):
            step(model)


@pytest.mark.parametrize("kind", TASKS)
def test_a_network_for_clips_says_that_it_takes_no_images(kind):
    with refuses(ConfigError, "r3d_18", "--model.backbone", "resnet18"):
        task(kind, "r3d_18")
