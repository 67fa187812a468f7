"""Keypoints: losses, places in pixels of the original, flips at test time, and refused settings."""

import pytest
import torch

from modules.contracts import ConfigError
from modules.contracts.data_info import DataInfo
from modules.contracts.keypoints import layout
from modules.decoding.tta import TTA
from modules.export import Preprocess
from modules.heads.detection import KeypointHeatmaps, KeypointRCNN
from modules.metrics.oks import COCO_NAMES
from modules.training.optim import Optim
from tasks import Keypoints
from tests.helpers.errors import refuses
from tests.helpers.training import quiet
from tests.tasks.test_detection import CLASSES, Images, make_images, neck

NAMES = ["left_corner", "right_corner", "middle"]
HEADS = {
    "heatmaps": lambda f, c: KeypointHeatmaps(f, c, channels=32),
    "rcnn": lambda f, c: KeypointRCNN(
        f, c, anchor_sizes=[16, 24, 32], hidden=64, samples=64, keypoint_channels=16, keypoint_layers=2
    ),
}


def task(head: str = "heatmaps", **settings) -> Keypoints:
    parts = {"backbone": "test_resnet", "classes": CLASSES, "neck": neck, "head": HEADS[head], "keypoints": NAMES}
    return Keypoints(**parts | settings)


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """Upper corners, and the middle as an occluded one."""
    left, top, right, bottom = boxes.unbind(1)
    middle = torch.stack([(left + right) / 2, (top + bottom) / 2, torch.ones_like(left)], 1)
    upper = [torch.stack([x, top, torch.full_like(x, 2)], 1) for x in (left, right)]
    return torch.stack([*upper, middle], 1)


def batch(empty: bool = False) -> dict:
    made = make_images(empty=empty)
    made["keypoints"] = [corners(boxes) for boxes in made["boxes"]]
    for one in made["truth"]:
        one["keypoints"] = corners(one["boxes"])
    return made


@pytest.mark.parametrize("head", HEADS)
def test_a_handful_of_images_is_memorized_in_pixels_of_the_original(head):
    model = task(head, optim=Optim(lr=0.005, warmup=0, schedule="constant"))
    fit = quiet(max_epochs=60, check_val_every_n_epoch=60, gradient_clip_val=1.0)
    fit.fit(model, datamodule=Images(batch()))
    assert fit.callback_metrics["val/keypoint_map50"] > 0.9


@pytest.mark.parametrize("head", HEADS)
def test_images_without_objects_train_everything_without_harm(head):
    model = task(head)
    quiet(max_epochs=1, limit_val_batches=0).fit(model, datamodule=Images(batch(empty=True)))
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("head", HEADS)
def test_flips_at_test_time_swap_left_and_right(head):
    torch.manual_seed(0)
    model = task(head, tta=TTA(flip=True)).eval()
    given = model.on_after_batch_transfer(batch(), 0)
    found = model.predict_step(given, 0)
    turned = given | {"image": given["image"].flip(-1)}
    mirrored = model.predict_step(turned, 0)
    for points, others, scores in zip(found["keypoints"], mirrored["keypoints"], found["scores"], strict=True):
        assert len(points) == len(others)
        if len(scores):
            back = others[0, [1, 0, 2]]
            back[:, 0] = 128 - back[:, 0]  # the originals are 128 pixels wide
            torch.testing.assert_close(points[0], back, atol=1e-2, rtol=0)


def test_names_come_from_the_data_and_have_to_agree_with_it():
    with refuses(ConfigError, "--data.keypoints true", "tasks/detection.yaml"):
        task(keypoints=None)
    model = task()
    with refuses(ConfigError, "model.keypoints", "'tail'"):
        model.on_data(DataInfo(keypoints=layout(["tail"])), "test")
    model.on_data(DataInfo(keypoints=layout(NAMES)), "test")


def test_the_protocol_says_the_sigmas():
    assert "a sigma of 0.05" in task().protocols["keypoint_map"]
    assert "COCO's 17" in task(keypoints=[*COCO_NAMES]).protocols["keypoint_map"]
    assert "0.1, 0.2, 0.3" in task(sigmas=[0.1, 0.2, 0.3]).protocols["keypoint_map"]


def test_what_it_cannot_do_is_said():
    with refuses(ConfigError, "extra_metrics"):
        task(extra_metrics=["voc"])
    for head, name in (("heatmaps", "KeypointHeatmaps"), ("rcnn", "KeypointRCNN")):
        with refuses(ConfigError, name, "exported", "FasterRCNN"):
            task(head).graphs(Preprocess())
