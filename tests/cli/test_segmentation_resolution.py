"""Printed scores of semantic segmentation against the maps that predict writes."""

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import jaccard_score

from tests.helpers.commands import values

SIZES = [(40, 60), (64, 32), (33, 90)]


@pytest.fixture
def mixed(tmp_path):
    """Images of several sizes with their maps: bright squares of two kinds on dark ground."""
    random, root = np.random.default_rng(0), tmp_path / "mixed"
    for split, count in (("train", 8), ("val", 3), ("test", 6)):
        for folder in ("images", "masks"):
            (root / folder / split).mkdir(parents=True)
        for i in range(count):
            height, width = SIZES[i % len(SIZES)]
            mask = np.zeros((height, width), np.uint8)
            top, left = random.integers(0, 16, 2)
            mask[top : top + 14, left : left + 14] = 1 + i % 2
            image = (mask * 100)[..., None] + random.integers(0, 40, (height, width, 3))
            Image.fromarray(image.astype(np.uint8)).save(root / "images" / split / f"{i}.png")
            Image.fromarray(mask).save(root / "masks" / split / f"{i}.png")
    return root


def test_printed_scores_are_those_of_the_maps_that_predict_writes(mixed, graft, tmp_path):
    data = ["--data", "SegmentationFolder", "--data.root", str(mixed), "--data.batch_size", "4", "--data.workers", "0"]
    task = ["--config", "tasks/semantic_segmentation.yaml"]
    fit = ["--data.image_size", "32", "--trainer.max_epochs", "2", "--trainer.precision", "32"]
    code, said = graft("fit", *task, *data, *fit, "--run_dir", "run")
    assert code == 0, said
    printed = values("run")
    found = ["--data", "UnlabeledImages", "--data.root", str(mixed / "images" / "test"), "--data.workers", "0"]
    found += ["--trainer.precision", "32"]
    code, said = graft("predict", *task, "--ckpt_path", "run", *found, "--run_dir", "predicted")
    assert code == 0, said
    pairs = [
        (np.asarray(Image.open(path)), np.asarray(Image.open(mixed / "masks" / "test" / path.name)))
        for path in sorted((tmp_path / "predicted" / "predictions" / "masks").glob("*.png"))
    ]
    assert len(pairs) == 6
    predicted, true = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in (0, 1))
    assert printed["test/pixel_accuracy"] == pytest.approx((predicted == true).mean(), abs=1e-6)
    assert printed["test/miou"] == pytest.approx(jaccard_score(true, predicted, average="macro"), abs=1e-6)
