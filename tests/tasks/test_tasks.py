"""Classification and SimCLR: initial loss, memorization of a handful, metrics."""

import math
from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from modules.backbones import Timm
from modules.contracts import ConfigError, DataError
from modules.contracts.data_info import DataInfo
from modules.heads import Linear, Projection
from modules.training.optim import Optim
from modules.training.transfer import load_backbone
from tasks import Classification, SimCLR
from tests.helpers.errors import refuses
from tests.helpers.training import quiet, train

CLASSES = [f"class {i}" for i in range(10)]


def classification(**changes) -> Classification:
    return Classification(**{"classes": CLASSES, "backbone": "test_resnet", "optim": Optim(lr=0.003)} | changes)


def make_images(count: int, size: int = 32) -> dict:
    return {
        "image": torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8),
        "label": torch.arange(count) % 10,
    }


def recorded(task: L.LightningModule, what: Callable[[dict, Any], Any]) -> list:
    """Results of `what(batch, output)` for each training step, in order."""
    kept, step = [], task.training_step

    def training_step(batch: dict, batch_idx: int) -> Any:
        output = step(batch, batch_idx)
        kept.append(what(batch, output))
        return output

    task.training_step = training_step
    return kept


def test_classification_starts_at_the_logarithm_of_the_number_of_classes():
    task, batch = classification(), make_images(64)
    loss = task.head.loss(task(task.backbone.normalize(batch["image"])), batch["label"])
    assert task.chance_loss() == pytest.approx(math.log(10))
    assert loss.item() == pytest.approx(task.chance_loss(), abs=0.25)


def test_classification_memorizes_a_handful():
    task, batch = classification(), make_images(16)
    train(task, batch, steps=60)
    task.eval()
    assert (task(task.backbone.normalize(batch["image"])).argmax(1) == batch["label"]).all()


def test_simclr_starts_at_chance_among_all_other_views_and_pulls_a_handful_of_pairs_together():
    views = torch.randint(0, 256, (2, 32, 3, 32, 32), dtype=torch.uint8)
    task = SimCLR(backbone="test_resnet", temperature=1.0, optim=Optim(lr=0.003))
    losses = recorded(task, lambda batch, output: output)
    train(task, {"views": list(views)}, steps=60)
    assert losses[0]["loss"].item() == pytest.approx(math.log(2 * 32 - 1), abs=0.25)
    task.data = DataInfo(batch_size=32)  # known to data modules only
    assert task.chance_loss() == pytest.approx(math.log(2 * 32 - 1))
    assert losses[-1]["loss"] < losses[0]["loss"] - 0.8  # at temperature 1 it can fall by 1 at most
    assert losses[0]["embeddings"].shape == (64, 128)
    assert not losses[0]["embeddings"].requires_grad


def test_a_frozen_backbone_keeps_weights_and_statistics_and_only_the_head_is_optimized():
    task = classification(frozen=True)
    before = {k: v.clone() for k, v in task.backbone.state_dict().items()}
    trainer = train(task, make_images(16), steps=3)
    assert all(torch.equal(v, before[k]) for k, v in task.backbone.state_dict().items())
    optimized = {id(p) for g in trainer.optimizers[0].param_groups for p in g["params"]}
    assert optimized == {id(p) for p in task.head.parameters()}


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_gives_soft_labels_in_training_only(kind):
    task = classification(**{kind: 1.0})
    seen, loss = [], task.head.loss
    task.head.loss = lambda logits, label: (seen.append(label), loss(logits, label))[1]
    train(task, make_images(16), steps=1)
    assert seen[0].shape == (16, 10)
    assert torch.allclose(seen[0].sum(1), torch.ones(16))
    task.trainer.state.stage = None
    assert task.on_after_batch_transfer(make_images(4), 0)["label"].dtype == torch.int64


def test_metrics_are_micro_accuracy_top_5_and_macro_f1():
    task = classification()
    logits = torch.zeros(4, 10)
    logits[:, :2] = 1.0
    logits[torch.arange(4), torch.tensor([0, 0, 0, 1])] = 5.0  # labels 0, 0, 1, 1: three right
    metrics = task.metrics["val"]
    metrics.update(logits.softmax(1), torch.tensor([0, 0, 1, 1]))
    values = {k: v.item() for k, v in metrics.compute().items()}
    assert values["val/accuracy"] == pytest.approx(3 / 4)
    assert values["val/accuracy_top5"] == 1.0
    assert values["val/f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)  # over the classes that occur
    confidence = (logits.softmax(1)).max().item()
    assert values["val/calibration_error"] == pytest.approx(confidence - 3 / 4, abs=1e-5)  # one bin


def test_predictions_are_probabilities_and_features_are_pooled_maps():
    task = classification().eval()
    batch = task.on_after_batch_transfer({"image": make_images(3)["image"]}, 0)
    prediction = task.predict_step(batch, 0)
    assert torch.allclose(prediction["scores"].sum(1), torch.ones(3))
    assert torch.equal(prediction["label"], prediction["scores"].argmax(1))
    assert torch.allclose(task.features(batch["image"]), task.backbone.net(batch["image"]), atol=1e-5)


def test_a_checkpoint_of_a_task_built_from_objects_holds_plain_values_only(tmp_path):
    backbone = Timm("test_resnet", small_images=True)
    task = classification(backbone=backbone, head=Linear, optim=Optim(torch.optim.SGD, lr=0.1))
    trainer = train(task, make_images(16), steps=1)
    trainer.save_checkpoint(tmp_path / "task.ckpt", weights_only=False)
    checkpoint = torch.load(tmp_path / "task.ckpt", weights_only=True)
    assert checkpoint["task"] == "Classification"
    assert "epoch 1" in load_backbone(backbone, str(tmp_path / "task.ckpt"))  # saved after the only one
    assert checkpoint["backbone"]["name"] == "test_resnet"
    assert checkpoint["hyper_parameters"]["classes"] == CLASSES


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"backbone": Timm("test_resnet"), "small_images": True}, ("small_images", "init_args", "class_path")),
        ({"classes": ["only"]}, ("--model.classes",)),
    ],
    ids=["a backbone of our own", "one class"],
)
def test_settings_that_would_be_ignored_or_leave_nothing_to_tell_apart_are_refused(settings, names):
    with refuses(ConfigError, *names):
        classification(**settings)


def test_a_head_is_any_callable_of_features_and_outputs():
    task = SimCLR(
        backbone="test_resnet", embed_dim=7, head=lambda features, outputs: Projection(features, outputs, layers=3)
    )
    assert task(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    assert sum(isinstance(m, nn.Linear) for m in task.head.modules()) == 3


@pytest.mark.parametrize(
    ("task", "batch", "names"),
    [
        (classification, (torch.rand(4, 3, 32, 32), torch.zeros(4, dtype=torch.int64)), ("Classification", "image")),
        (classification, {"image": torch.rand(4, 32, 32, 3), "label": torch.zeros(4)}, ("(4, 32, 32, 3)",)),
        (lambda: SimCLR(backbone="test_resnet"), {"image": torch.rand(4, 3, 32, 32)}, ("SimCLR", "data.views", 2)),
    ],
    ids=["tuple", "channels last", "one view"],
)
def test_batches_of_plain_loaders_that_do_not_fit_are_refused(task, batch, names):
    with refuses(ConfigError, *names):
        quiet(max_steps=1).fit(task(), DataLoader([batch], batch_size=None, collate_fn=lambda one: one))


@pytest.mark.parametrize("label", [-1, 2])
def test_a_class_beyond_those_of_the_task_is_refused_in_plain_loaders(label):
    batch = {"image": torch.rand(4, 3, 32, 32), "label": torch.tensor([0, 1, 0, label])}
    with refuses(DataError, f"label {label}", "2 classes"):
        quiet(max_steps=1).fit(
            classification(classes=["a", "b"]), DataLoader([batch], batch_size=None, collate_fn=dict)
        )


def test_predictions_have_the_temperature_of_validation():
    task = classification(calibrate=True).eval()
    batch = {"image": task.backbone.normalize(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8))}
    with torch.inference_mode():
        plain = task.predict_step(batch, 0)
        task.take_chosen({"temperature": 4.0})
        cooled = task.predict_step(batch, 0)
    assert torch.equal(plain["label"], cooled["label"])
    assert torch.allclose(cooled["scores"].log().softmax(1), (plain["scores"].log() / 4).softmax(1), atol=1e-6)
