"""Segments of the built-in world."""

import torch

from datamodules import ShapesPanoptic
from modules.metrics.panoptic import PanopticScores


def test_every_pixel_belongs_to_a_shape_or_to_the_ground():
    data = ShapesPanoptic(train=8, val=8, test=0, batch_size=8, workers=0, augment="none")
    data.setup("fit")
    assert data.data_info().things == data.things == data.classes[:-1]
    (batch,) = data.val_dataloader()
    assert (batch["segments"] > 0).all()
    for segments, labels in zip(batch["segments"], batch["labels"], strict=True):
        assert segments.unique().tolist() == list(range(1, len(labels) + 1))
        assert labels[-1] == 10 and (labels[:-1] < 10).all() and 2 <= len(labels) - 1 <= 3
    metric = PanopticScores(data.thing_classes)
    metric.update(list(batch["segments"]), batch["labels"], batch["truth"])
    assert metric.compute()["pq"] == 1
    assert 0.05 < data.baselines()["constant"] < 0.1


def test_the_images_are_the_same_every_time():
    first, again = (ShapesPanoptic(train=4, val=0, test=0, workers=0).sources()["train"] for _ in range(2))
    assert torch.equal(torch.from_numpy(first.image(3)), torch.from_numpy(again.image(3)))
    assert first.counts[5] == again.counts[5]
