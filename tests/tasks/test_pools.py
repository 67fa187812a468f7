"""Pooled features in tasks: training, checkpoints, probes, transfer."""

import json
from typing import Any

import lightning as L
import pytest
import timm
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.utils.data import DataLoader

from modules.backbones import Timm, by_name
from modules.backbones.reach import survey
from modules.contracts import ConfigError
from modules.heads import FullyConnected
from modules.training.transfer import export_backbone, load_backbone, read_weights
from tasks import DINO, Classification, MaskedPatches, SemanticSegmentation, SimCLR, Task, Video
from tasks.moco import MoCo
from tests.helpers.errors import assert_named, refuses
from tests.helpers.training import quiet

CLASSES = ["a", "b", "c"]
CONV_HEAD = {"conv_head.weight", "bn2.weight", "bn2.bias"}  # of test_efficientnet, behind the last map


def fitted(task: Task, batch: dict[str, Any], **options: Any) -> L.Trainer:
    """Train one step."""
    trainer = quiet(**{"max_steps": 1, "limit_val_batches": 0} | options)
    batch = batch | {"id": ["x"] * 4}
    trainer.fit(task, DataLoader([batch], batch_size=None, collate_fn=dict))
    return trainer


def pixels(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def labeled() -> dict[str, Tensor]:
    return {"image": pixels(4, 3, 64, 64), "label": torch.tensor([0, 1, 2, 0])}


def segmented() -> dict[str, Tensor]:
    return {"image": pixels(4, 3, 64, 64), "mask": torch.randint(0, 3, (4, 64, 64))}


def semantic(**settings: Any) -> SemanticSegmentation:
    return SemanticSegmentation(**{"backbone": "test_efficientnet", "classes": CLASSES} | settings)


CASES = {
    "classification": (lambda n: Classification(backbone=n, classes=CLASSES), labeled),
    "fully connected": (lambda n: Classification(backbone=n, classes=CLASSES, head=FullyConnected), labeled),
    "segmentation": (lambda n: SemanticSegmentation(backbone=n, classes=CLASSES), segmented),
    "masked patches": (lambda n: MaskedPatches(backbone=n), labeled),
    "simclr": (lambda n: SimCLR(backbone=n), lambda: {"views": [pixels(4, 3, 64, 64) for _ in range(2)]}),
    **{
        f"video {kind}": (
            lambda n, kind=kind: Video(backbone=n, classes=CLASSES, frames=4, fusion=kind),
            lambda: {"video": pixels(4, 3, 4, 64, 64), "label": torch.tensor([0, 1, 2, 0])},
        )
        for kind in ("mean", "lstm", "single")
    },
}


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "test_convnext"])
@pytest.mark.parametrize("case", CASES)
def test_a_task_trains_exactly_the_parameters_that_its_loss_follows_from(case, name):
    """Unused parameters, for whose gradients DDP would wait."""
    make, batch = CASES[case]
    task, seen = make(name), {}

    class Watch(L.Callback):
        def on_before_optimizer_step(self, *_: Any) -> None:
            seen.update({key: p.grad is not None for key, p in task.named_parameters() if p.requires_grad})

    fitted(task, batch(), callbacks=[Watch()])
    assert seen and all(seen.values()), [key for key, reached in seen.items() if not reached]
    pooling = case not in ("fully connected", "segmentation", "masked patches")
    assert task.pools == task.backbone.pools == pooling
    if name == "test_efficientnet":
        assert any(f"backbone.net.{key}" in seen for key in CONV_HEAD) == pooling


def test_probes_look_at_pooled_features_where_these_are_trained_and_at_the_mean_elsewhere():
    image = torch.randn(2, 3, 64, 64)
    for task in (Classification(backbone="test_efficientnet", classes=CLASSES).eval(), semantic().eval()):
        net = task.backbone.net
        features, maps = task.features(image), task.backbone(image)
        expected = net(image) if task.pools else maps[-1].mean((-2, -1))
        torch.testing.assert_close(features, expected)


def test_a_vit_is_classified_and_probed_by_its_class_token():
    task, image = Classification(backbone="test_vit", classes=CLASSES).eval(), torch.randn(2, 3, 64, 64)
    tokens = task.backbone.net.forward_features(image)
    torch.testing.assert_close(task.features(image), tokens[:, 0])
    torch.testing.assert_close(task(image), task.head.fc(tokens[:, 0]))


def test_a_video_of_still_frames_has_the_features_of_the_image():
    for name in ("test_vit", "test_efficientnet", "test_convnext"):
        task = Video(backbone=name, classes=CLASSES, frames=4).eval()
        image = torch.randn(2, 3, 64, 64)
        torch.testing.assert_close(task.features(image), task.backbone.net(image), atol=1e-5, rtol=1e-4)


# Files ---------------------------------------------------------------------------------------------------------------


def test_what_was_not_trained_is_named_in_the_file_and_when_it_is_loaded(tmp_path):
    task, path = semantic(), tmp_path / "backbone.safetensors"
    fitted(task, segmented())
    export_backbone(task.exported, path)
    with safe_open(path, "pt") as file:
        assert set(json.loads(file.metadata()["untrained"])) == CONV_HEAD
    said = load_backbone(by_name("test_efficientnet"), str(path))
    assert_named(said, *CONV_HEAD)
    plain = timm.create_model("test_efficientnet", num_classes=0, checkpoint_path=path)
    assert torch.equal(plain.conv_head.weight, task.backbone.net.conv_head.weight)


def test_what_the_start_has_trained_stays_trained(tmp_path):
    path, task = tmp_path / "backbone.safetensors", Classification(backbone="test_efficientnet", classes=CLASSES)
    fitted(task, labeled())
    export_backbone(task.exported, path)
    dense = semantic(weights=str(path))
    fitted(dense, segmented())
    assert dense.backbone.untrained == ()


def test_a_checkpoint_remembers_what_was_not_trained(tmp_path):
    task = semantic()
    fitted(task, segmented()).save_checkpoint(tmp_path / "run.ckpt", weights_only=False)
    assert set(read_weights(str(tmp_path / "run.ckpt")).about["untrained"]) == CONV_HEAD


def test_exports_of_old_lack_the_layers_behind_the_last_map_which_start_afresh(tmp_path):
    source, fresh = by_name("torchvision/mobilenet_v3_small"), by_name("torchvision/mobilenet_v3_small")
    path = tmp_path / "old.pth"
    torch.save({k: v for k, v in source.net.state_dict().items() if not k.startswith("classifier.")}, path)
    before = fresh.net.classifier[0].weight.clone()
    said = load_backbone(fresh, str(path))
    assert_named(said, "classifier.0.weight", "classifier.0.bias")
    assert "features." not in said
    assert torch.equal(fresh.net.classifier[0].weight, before)
    assert torch.equal(fresh.net.features[0][0].weight, source.net.features[0][0].weight)


def test_a_file_that_lacks_some_other_tensor_is_refused(tmp_path):
    source = by_name("torchvision/mobilenet_v3_small")
    path = tmp_path / "broken.pth"
    torch.save({k: v for k, v in source.net.state_dict().items() if k != "features.0.0.weight"}, path)
    with refuses(ConfigError, path, "torchvision/mobilenet_v3_small", "features.0.0.weight"):
        load_backbone(by_name("torchvision/mobilenet_v3_small"), str(path))


@pytest.mark.parametrize(("name", "refused"), [("test_resnet", False), ("test_vit", True), ("test_convnext", True)])
def test_a_head_that_was_trained_on_means_of_the_last_map_is_refused_on_other_features(name, refused):
    task = Classification(backbone=name, classes=CLASSES)
    checkpoint = {"state_dict": task.state_dict(), "backbone": {"name": name}, "hyper_parameters": {}}
    if not refused:
        task.on_load_checkpoint(checkpoint)
        return
    with refuses(ConfigError, name, "--model.weights"):
        task.on_load_checkpoint(checkpoint)


def test_dinos_teacher_is_probed_exported_and_handed_on(tmp_path):
    task = DINO(backbone="test_resnet", prototypes=16, momentum=0.5, freeze_last=0).eval()
    with torch.no_grad():
        task.teacher.net[0].net.conv1[0].weight.fill_(0.01)
    image = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(task.features(image), task.teacher.backbone.net(image))
    assert not torch.allclose(task.features(image), task.backbone.net(image))
    trainer = fitted(task, {"views": [pixels(4, 3, 64, 64) for _ in range(2)]}, max_steps=1)
    trainer.save_checkpoint(tmp_path / "run.ckpt", weights_only=False)
    tensors = read_weights(str(tmp_path / "run.ckpt")).tensors
    assert tensors.keys() == task.backbone.net.state_dict().keys()
    assert all(torch.equal(tensors[k], v) for k, v in task.teacher.backbone.net.state_dict().items())
    assert task.exported is task.teacher.backbone


# Methods as in their papers ------------------------------------------------------------------------------------------


def test_a_symmetric_moco_enqueues_the_keys_of_both_views():
    task = MoCo(backbone="test_resnet", queue_size=16, shuffle_bn_groups=1, symmetric=True, embed_dim=8)
    views = [pixels(4, 3, 32, 32) for _ in range(2)]
    start, seen = task.queue.keys.clone(), []
    keys = task._keys
    task._keys = lambda view: seen.append(keys(view)) or seen[-1]
    fitted(task, {"views": views})
    torch.testing.assert_close(task.queue.keys[:8], torch.cat(seen))
    torch.testing.assert_close(task.queue.keys[8:], start[8:])


def test_mocos_head_has_no_batch_norm():
    task = MoCo(backbone="test_resnet")
    assert [type(layer) for layer in task.head.mlp] == [nn.Linear, nn.ReLU, nn.Linear]
    assert not task.symmetric


# The library's classifier --------------------------------------------------------------------------------------------


@pytest.fixture
def published(monkeypatch) -> nn.Module:
    """Timm's network, as downloaded by `weights: pretrained`."""
    whole, create = timm.create_model("test_convnext").eval(), timm.create_model
    with torch.no_grad():
        whole.get_classifier().bias.normal_()
    fetched = lambda name, pretrained=False, **options: whole if pretrained else create(name, **options)  # noqa: E731
    monkeypatch.setattr(timm, "create_model", fetched)
    return whole


def pretrained(**settings: Any) -> Classification:
    task = Classification(backbone="test_convnext", head="pretrained", weights="pretrained", **settings)
    return task.eval()


def test_the_published_network_answers_at_once(published):
    task, image = pretrained(), pixels(4, 3, 64, 64)
    batch = {"image": image, "label": torch.zeros(4, dtype=torch.long), "id": ["x"] * 4}
    loader = DataLoader([batch], batch_size=None, collate_fn=dict)
    (answers,) = quiet().predict(task, loader)
    with torch.no_grad():
        expected = published(task.backbone.normalize(image)).softmax(1)
    torch.testing.assert_close(answers["scores"], expected, atol=1e-5, rtol=1e-4)


def test_a_trained_classifier_is_not_fetched_again(published):
    task = pretrained()
    trainer = fitted(task, labeled())
    trained = task.head.fc.state_dict()["head.fc.weight"].clone()
    assert not torch.equal(trained, published.get_classifier().weight)
    batch = labeled() | {"id": ["x"] * 4}
    trainer.test(task, DataLoader([batch], batch_size=None, collate_fn=dict), verbose=False)
    assert torch.equal(task.head.fc.state_dict()["head.fc.weight"], trained)


def test_a_classifier_without_weights_is_refused():
    task = Classification(backbone="test_convnext", head="pretrained")
    with refuses(ConfigError, "model.head", "--model.weights pretrained"):
        fitted(task, labeled())


def test_own_parameters_beyond_reach_are_never_trained():
    backbone = Timm("test_vit")
    backbone.net.register_parameter("mask_token", nn.Parameter(torch.zeros(1)))
    task = Classification(backbone=backbone, classes=CLASSES)
    assert not backbone.net.mask_token.requires_grad
    assert "mask_token" not in survey(task.backbone).pooled
