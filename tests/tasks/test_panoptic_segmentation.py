"""Panoptic segmentation: targets, segments in pixels of the original, scores; with a head that knows the answers."""

from functools import partial

import lightning as L
import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datamodules import ShapesPanoptic
from modules.contracts import IGNORE, ConfigError, Features
from modules.contracts.data_info import DataInfo
from modules.heads import QueryMasks
from modules.heads.queries import MaskQueryHead, Queries
from modules.metrics.panoptic import per_class
from modules.training.optim import Optim
from tasks import PanopticSegmentation
from tasks.panoptic_segmentation import class_maps, targets
from tests.helpers.errors import refuses
from tests.helpers.training import quiet

CLASSES, THINGS = ["cat", "dog", "sky"], ["cat", "dog"]


class Levels(MaskQueryHead):
    """One query for each gray level of an image: a cat, a cat, a sky and none, sure of its class and pixels."""

    queries = 4

    def __init__(self, features: Features, outputs: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, image, see, targets=None):
        see(image)
        levels = torch.tensor([40.0, 80, 120, 0], device=image.device).view(1, -1, 1, 1)
        gray = 255 * (image * 0.5 + 0.5).mean(1, keepdim=True)  # test_resnet's normalization, undone
        masks = self.scale * (20 - (gray - levels).abs())
        classes = torch.tensor([[9.0, 0, 0, 0], [8, 0, 0, 0], [0, 0, 7, 0], [0, 0, 0, 9]], device=image.device)
        losses = {"class": self.scale.square(), "mask": masks.square().mean() * 0}
        return Queries(classes.expand(len(image), -1, -1), masks), {} if targets is None else losses


def task(**settings) -> PanopticSegmentation:
    given = {"backbone": "test_resnet", "classes": CLASSES, "things": THINGS, "head": Levels}
    return PanopticSegmentation(**given | settings)


def batch() -> dict:
    """Two images of 32 x 32 pixels, letterboxed to 16 x 16 and padded, of two cats, a sky and void."""
    image, segments = torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.zeros(2, 32, 32, dtype=torch.int32)
    for number, (level, columns) in enumerate([(40, slice(0, 4)), (80, slice(4, 8)), (120, slice(8, 12))], 1):
        image[:, :, :16, columns], segments[:, :16, columns] = level, number
    whole = segments[0, :16, :16].repeat_interleave(2, 0).repeat_interleave(2, 1).numpy()
    rles = [coco.encode(np.asfortranarray(whole == number, np.uint8)) for number in (1, 2, 3)]
    truth = {"labels": torch.tensor([0, 0, 2]), "crowd": torch.zeros(3, dtype=torch.bool), "rle": rles}
    sides = {"inside": torch.tensor([[16, 16]] * 2), "size": torch.tensor([[32, 32]] * 2)}
    return {"image": image, "segments": segments, "labels": [truth["labels"]] * 2, "truth": [truth] * 2, **sides}


def seen(model: PanopticSegmentation) -> dict:
    return model.on_after_batch_transfer(batch(), 0)


def test_targets_are_the_masks_of_the_segments_and_void_is_ignored():
    found = targets(batch())
    assert found[0]["labels"].tolist() == [0, 0, 2]
    assert found[0]["masks"].flatten(1).sum(1).tolist() == [64, 64, 64]
    assert torch.equal(found[0]["ignore"], ~found[0]["masks"].any(0))
    empty = targets({"segments": torch.zeros(1, 4, 4), "labels": [torch.zeros(0, dtype=torch.long)]})
    assert empty[0]["masks"].shape == (0, 4, 4) and empty[0]["ignore"].all()


def test_segments_are_those_of_the_original_image():
    model = task().eval()
    found = model.predict_step(seen(model), 0)
    assert found["segments"][0].shape == (32, 32)
    assert [labels.tolist() for labels in found["labels"]] == [[0, 0, 2]] * 2
    assert found["scores"][0].min() > 0.9
    areas = found["segments"][1].flatten().bincount()[1:]
    assert areas.tolist() == pytest.approx([256, 256, 256], abs=40)  # borders are interpolated


def test_scores_are_panoptic_quality_and_each_image_has_its_matches():
    model = task().eval()
    logged: dict[str, Tensor] = {}
    model.log_metrics = logged.update
    found = model.eval_step(seen(model), 0, "val")
    model.on_eval_epoch_end("val")
    assert logged["val/rq"] == 1 and 0.8 < logged["val/pq"] <= 1
    assert logged.keys() == {f"val/{name}" for name in model.protocols}
    assert found["matches"].shape == (2, 4, 3)
    assert per_class(found["matches"].sum(0).numpy())["segments"].tolist() == [4, 0, 2]


def test_the_loss_is_the_sum_of_those_of_the_head():
    model = task()
    logged: dict[str, Tensor] = {}
    model.log_step = logged.update
    assert model.training_step(seen(model), 0) == 1
    assert logged.keys() == {"loss", "loss_class", "loss_mask"}


def test_the_auxiliary_loss_is_that_of_the_classes_of_the_pixels():
    model, logged = task(aux_loss_weight=0.5), {}
    model.log_step = logged.update
    one = seen(model)
    expected = torch.full((32, 32), IGNORE)
    expected[:16, :8], expected[:16, 8:12] = 0, 2
    assert torch.equal(class_maps(one)[0], expected)
    assert model.training_step(one, 0).item() == pytest.approx(1 + logged["loss_auxiliary"].item())
    assert logged["loss_auxiliary"].item() == pytest.approx(0.5 * np.log(3), rel=0.3)


def test_an_auxiliary_loss_needs_a_head_on_maps():
    class Blind(Levels):
        def forward(self, image, see, targets=None):
            return super().forward(image, lambda _: None, targets)

    model = task(head=Blind, aux_loss_weight=0.5)
    with refuses(ConfigError, "model.aux_loss_weight", "Blind"):
        model.training_step(seen(model), 0)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"classes": None}, ["--model.classes"]),
        ({"things": None}, ["--model.things"]),
        ({"things": ["cat", "tree"]}, ["model.things", "'tree'"]),
    ],
)
def test_classes_and_things_are_needed(settings, names):
    with refuses(ConfigError, *names):
        task(**settings)


def test_other_things_than_the_datas_are_refused():
    model = task()
    model.on_data(DataInfo("Data", things=["dog", "cat"]), "fit")
    model.on_data(DataInfo("Data"), "predict")
    with refuses(ConfigError, "model.things", "'dog'", "Data"):
        model.on_data(DataInfo("Data", things=["cat"]), "validate")


def test_data_without_segments_is_refused():
    model = task()
    model.trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    with refuses(ConfigError, "PanopticSegmentation", "segments"):
        model.on_after_batch_transfer({"image": batch()["image"], "labels": []}, 0)


def test_mask_queries_learn_a_handful_of_images():
    data = ShapesPanoptic(train=4, val=1, test=0, batch_size=4, workers=0, augment="none")
    data.setup("fit")
    head = partial(QueryMasks, queries=8, width=32, layers=2)
    settings = {"classes": data.classes, "things": data.things, "head": head}
    torch.manual_seed(0)
    model = task(**settings, optim=Optim(lr=0.003, warmup=0, schedule="constant"))
    (one,) = data.train_dataloader()
    whole = data.dataset("train", "evaluate")
    (judged,) = DataLoader(whole, 4, sampler=[(0, i) for i in range(4)], collate_fn=data.collate)

    class Same(L.LightningDataModule):
        def train_dataloader(self):
            return DataLoader([one] * 80, batch_size=None, collate_fn=dict)

        def val_dataloader(self):
            return DataLoader([judged], batch_size=None, collate_fn=dict)

    once = quiet(max_epochs=1, gradient_clip_val=1.0)
    once.fit(model, datamodule=Same())
    assert once.callback_metrics["val/pq"] > 0.5
