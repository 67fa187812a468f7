"""Video classification: views are averaged, metrics are what their names say, weights come from any task."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from modules.backbones.lora import LoRA, adapted, merged
from modules.contracts import ConfigError
from modules.heads.base import ClassificationHead
from modules.temporal import FUSIONS, Recurrent
from modules.training.optim import Optim
from modules.training.transfer import load_backbone
from tasks import Classification, Video
from tests.helpers.errors import refuses
from tests.helpers.training import quiet

CLASSES = [f"class {i}" for i in range(8)]


def video(**kwargs) -> Video:
    settings = {"classes": CLASSES, "backbone": "test_resnet", "frames": 4, "optim": Optim(lr=0.003)} | kwargs
    return Video(**settings)


def batch(videos: int, views: int = 1, side: int = 32) -> dict:
    clips = torch.randint(0, 256, (videos * views, 3, 4, side, side), dtype=torch.uint8)
    return {"video": clips, "label": torch.arange(videos) % 8, "id": [f"{i}.mp4" for i in range(videos)]}


def loader(samples: dict) -> DataLoader:
    return DataLoader([samples], batch_size=None, collate_fn=dict)


def test_training_starts_at_the_logarithm_of_the_number_of_classes_and_memorizes_a_handful():
    task, samples = video(fusion="gru"), batch(16)
    clips = task.backbone.normalize(samples["video"])
    assert task.chance_loss() == pytest.approx(math.log(8))
    assert task.head.loss(task(clips), samples["label"]).item() == pytest.approx(math.log(8), abs=0.3)
    quiet(max_steps=60).fit(task, DataLoader([samples] * 60, batch_size=None, collate_fn=dict))
    task.eval()
    assert (task(clips).argmax(1) == samples["label"]).all()


@torch.no_grad()
def test_several_views_of_a_video_equal_averaging_by_hand():
    task, samples = video(fusion="lstm").eval(), batch(3, views=5)
    clips = task.on_after_batch_transfer(dict(samples), 0)["video"]
    found = task.predict_step({"video": clips, "id": samples["id"]}, 0)
    by_hand = torch.stack([task(clips[5 * i : 5 * (i + 1)]).softmax(1).mean(0) for i in range(3)])
    torch.testing.assert_close(found["scores"], by_hand)
    assert torch.equal(found["label"], by_hand.argmax(1))


class Told(ClassificationHead):
    """Head with given logits."""

    def __init__(self, logits: Tensor):
        super().__init__()
        self.logits = logits

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.logits


def test_metrics_of_views_and_of_videos_stand_side_by_side():
    right, wrong = (-0.1 * torch.arange(8.0) for _ in range(2))
    right[0], wrong[7] = 5.0, 3.0  # one sure view outweighs an unsure one
    logits = torch.stack([right, wrong, wrong, wrong, right, right])  # three videos of two views, of classes 0, 0, 6
    task = video()
    task.head, samples = Told(logits), batch(3, views=2) | {"label": torch.tensor([0, 0, 6])}
    trainer = quiet()
    (metrics,) = trainer.validate(task, loader(samples), verbose=False)
    assert metrics["val/clip_accuracy"] == pytest.approx(1 / 6)
    assert metrics["val/accuracy"] == pytest.approx(1 / 3)
    # class 0: 1 of 2, class 6: 0 of 1, class 7: never true, but said
    assert metrics["val/accuracy_macro"] == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert metrics["val/accuracy_top5"] == pytest.approx(2 / 3)
    each = torch.tensor([0, 0, 0, 0, 6, 6])
    assert metrics["val/loss"] == pytest.approx(nn.functional.cross_entropy(logits, each).item())
    assert set(task.protocols) == {name.removeprefix("val/") for name in metrics}


def test_weights_of_images_serve_every_frame(tmp_path):
    images = Classification(classes=CLASSES, backbone="test_resnet")
    trainer = quiet(max_steps=1)
    image = {"image": torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8), "label": torch.arange(8)}
    trainer.fit(images, loader(image))
    trainer.save_checkpoint(tmp_path / "images.ckpt", weights_only=False)
    for kind in ("mean", "slow", "attention"):
        task = video(fusion=kind)
        load_backbone(task.backbone, str(tmp_path / "images.ckpt"))
        theirs = images.backbone.net.state_dict()
        assert all(torch.equal(v, theirs[k]) for k, v in task.backbone.net.state_dict().items())


def test_a_frozen_backbone_trains_fusion_and_head_only():
    task, samples = video(frozen=True, fusion="gru"), batch(8)
    before = {k: v.clone() for k, v in task.backbone.state_dict().items()}
    trainer = quiet(max_steps=2)
    trainer.fit(task, loader(samples))
    assert all(torch.equal(v, before[k]) for k, v in task.backbone.state_dict().items())
    optimized = {id(p) for g in trainer.optimizers[0].param_groups for p in g["params"]}
    assert optimized == {id(p) for part in (task.fusion, task.head) for p in part.parameters()}


def test_a_network_for_clips_is_a_name_like_any_other():
    task = video(backbone="r3d_18", fusion="mean")
    assert task(torch.rand(2, 3, 4, 32, 32)).shape == (2, 8)
    assert task.features(torch.rand(2, 3, 4, 32, 32)).shape == (2, 512)


@pytest.mark.parametrize("kind", FUSIONS)
def test_an_image_has_the_features_of_a_still_clip(kind):
    task, image = video(fusion=kind).eval(), torch.rand(2, 3, 32, 32)
    still = torch.stack([image] * task.frames, 2)
    torch.testing.assert_close(task.features(image), task.features(still))


@pytest.mark.parametrize("kind", [kind for kind in FUSIONS if kind != "inflate"])
def test_adapters_of_every_fusion_are_trained_and_merged(kind):
    task, clip = video(fusion=kind, lora=LoRA(2)).eval(), torch.rand(2, 3, 4, 32, 32)
    layers = [m for layer in adapted(task.backbone.net).values() for m in [layer.lora]]
    for layer in layers:
        torch.nn.init.normal_(layer.up, std=0.05)
    before = task(clip)
    before.sum().backward()
    assert layers and all(layer.down.grad is not None for layer in layers)
    task.backbone = merged(task.backbone)
    torch.testing.assert_close(task(clip), before, rtol=1e-3, atol=1e-4)


def test_a_fusion_is_any_callable_of_backbone_and_frames():
    task = video(fusion=lambda backbone, frames: Recurrent(backbone, frames, hidden=5, layers=2))
    assert task.head.fc.in_features == 5


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"frames": None}, ("--model.frames",)),
        ({"backbone": "r3d_18", "fusion": "early"}, ("r3d_18", "fusion", "early", "--model.fusion")),
        ({"fusion": "slow", "frames": 7}, ("fusion", "slow", "--data.frames", 7)),
        ({"fusion": "inflate", "lora": LoRA(2)}, ("--model.fusion", "inflate", "model.lora")),
        ({"classes": ["only"]}, ("--model.classes",)),
    ],
)
def test_what_does_not_fit_together_is_refused(settings, names):
    with refuses(ConfigError, *names):
        video(**settings)
