from types import SimpleNamespace

import numpy as np
import pytest
import torch

from callbacks.collectors.chosen import evenly
from commands.evaluate.features import Embedded, image, samples, set_up_samples
from datamodules import ImageFolder, UnlabeledImages


def test_evenly_spread_rows_take_the_same_share_of_sorted_classes():
    rows = evenly(1000, 10)
    assert len(rows) == 10 and rows[0] == 0 and rows[-1] == 999
    assert np.bincount(rows // 500).tolist() == [5, 5]
    assert evenly(4, 10).tolist() == [0, 1, 2, 3]


def test_the_image_behind_a_row_is_found_where_others_were_left_out(image_folder):
    data = ImageFolder(root=str(image_folder({"train/cat": 3, "val/cat": 1})), image_size=20, workers=0)
    data.setup()
    (batch,) = samples(data, "train", "plain", range(3))
    ids = [name for name in batch["id"] if not name.endswith("000.png")]  # as if the first could not be read
    found = image(data, "train", Embedded(torch.zeros(2, 4), None, ids), 1)
    assert np.array_equal(found, batch["image"][2].permute(1, 2, 0).numpy())


@pytest.mark.parametrize(("pretraining", "seen"), [(False, 10), (True, 8)])
def test_a_folder_without_labels_is_looked_at_whole_where_nothing_was_learned_from_it(image_folder, pretraining, seen):
    data = UnlabeledImages(root=str(image_folder({"photos": 10})), image_size=16, val_split=0.2, workers=0)
    set_up_samples(data, SimpleNamespace(pretraining=pretraining))
    assert len(data.dataset("train", "plain")) == seen and data.has("val") == pretraining


def test_samples_are_drawn_anew_in_each_epoch(image_folder):
    root = str(image_folder({"train/cat": 5, "val/cat": 1}))
    data = ImageFolder(root=root, image_size=16, crop=(0.3, 1.0), workers=0)
    data.setup()
    first, again, second = (next(samples(data, "train", "train", [1, 3], epoch))["image"] for epoch in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, second)
