"""Tasks with facts about the data that are built by hand, without a data module."""

from functools import partial

import lightning.pytorch as L
import numpy as np
import pytest

from modules.contracts import ConfigError
from modules.contracts.data_info import DataInfo
from modules.heads.classification import Linear
from modules.losses.segmentation import SegmentationLoss
from modules.training.optim import Optim
from tasks import Classification, Detection, InstanceSegmentation, SemanticSegmentation, SimCLR, Task, Video
from tests.helpers.errors import refuses

CLASSES = ["a", "b"]


def attached(task: Task) -> Task:
    """A task with a trainer, which knows no data."""
    task.trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    return task


@pytest.mark.parametrize("kind", [Classification, partial(Video, frames=2)])
def test_class_weights_come_from_the_class_counts(kind):
    task = kind(backbone="test_resnet", classes=CLASSES, head=partial(Linear, class_weights="auto"))
    task.on_data(DataInfo(class_counts=lambda: np.array([30, 10])), "fit")
    assert task.head.class_weights.tolist() == pytest.approx([2 / 3, 2])
    with refuses(ConfigError, "class_weights", "auto"):
        task.on_data(DataInfo(), "fit")


def test_no_count_is_asked_for_without_a_setting_that_needs_it():
    task = Classification(backbone="test_resnet", classes=CLASSES)
    task.on_data(DataInfo(class_counts=lambda: 1 / 0), "fit")
    assert task.data.name == "the data"


def test_class_weights_of_pixels_need_classes_of_pixels():
    loss = SegmentationLoss(class_weights="auto")
    task = SemanticSegmentation(backbone="test_resnet", classes=CLASSES, loss=loss)
    task.on_data(DataInfo(class_pixels=lambda: (np.array([30, 10]), np.array([40, 40]))), "fit")
    assert task.class_weights.tolist() == pytest.approx([2 / 3, 2])
    with refuses(ConfigError, "loss.class_weights", "auto"):
        task.on_data(DataInfo(), "fit")


def test_anchors_are_fitted_to_the_box_sizes_in_training_only():
    task = attached(Detection(backbone="test_resnet", classes=CLASSES, fit_anchors=True))
    sizes = np.full((20, 2), 6.0)
    before = task.head.anchors.recall(sizes)
    for stage in ("validate", "fit"):
        task.on_data(DataInfo(box_sizes=lambda: sizes), stage)
        assert (task.head.anchors.recall(sizes) > before) == (stage == "fit")


def test_anchors_cannot_be_fitted_to_unknown_boxes():
    task = attached(Detection(backbone="test_resnet", classes=CLASSES, fit_anchors=True))
    with refuses(ConfigError, "fit_anchors"):
        task.on_data(DataInfo(), "fit")


def test_masks_are_needed_unless_nothing_is_judged():
    task = attached(InstanceSegmentation(backbone="test_resnet", classes=CLASSES))
    task.on_data(DataInfo(masks=False), "predict")
    with refuses(ConfigError, "--data.masks"):
        task.on_data(DataInfo(masks=False), "fit")


def test_pretraining_that_compares_images_needs_two():
    with refuses(ConfigError, "SimCLR", "--data.batch_size"):
        SimCLR(backbone="test_resnet").on_data(DataInfo(batch_size=1), "fit")


def test_other_classes_than_the_datas_are_refused():
    task = Classification(backbone="test_resnet", classes=CLASSES)
    task.on_data(DataInfo("Shapes", classes=["a", "b"]), "fit")
    with refuses(ConfigError, "model.classes", "Shapes", "'b'"):
        task.on_data(DataInfo("Shapes", classes=["b", "a"]), "fit")


def test_a_learning_rate_by_batch_size_needs_the_batch_size():
    task = attached(Classification(backbone="test_resnet", classes=CLASSES, optim=Optim(scale_lr=True)))
    task.on_data(DataInfo(per_step=8), "fit")
    assert task.effective_batch_size == 8
    task.on_data(DataInfo("Loader"), "fit")
    with refuses(ConfigError, "Loader", "optim.scale_lr"):
        assert task.effective_batch_size
