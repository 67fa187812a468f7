"""CamVid in SegNet's layout: the real images where they lie, and made-up ones everywhere."""

from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import CamVid
from modules.contracts import DataError
from tests.helpers.errors import assert_named, refuses
from tests.helpers.images import save

# counted with numpy.bincount over the 367 mask files: Sky, Building, ..., Bicyclist; void; all pixels
TRAIN = [10682767, 14750079, 623349, 20076880, 2845085, 6166762, 743859, 714595, 3719877, 405385, 184967]
VOID = 2503995


def real(root: Path, **options) -> CamVid:
    if not (root / "camvid" / "train").is_dir():
        pytest.skip("no camvid/train in the real data")
    data = CamVid(str(root / "camvid"), **({"image_size": (192, 240), "batch_size": 8, "workers": 0} | options))
    data.setup("fit")
    return data


@pytest.fixture
def made_up(tmp_path) -> Path:
    """Two pairs per split, with all values of masks."""
    random = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            save(random.integers(0, 12, (12, 16)).astype(np.uint8), tmp_path / f"{split}annot" / f"{name}.png")
            save(random.integers(0, 256, (12, 16, 3)).astype(np.uint8), tmp_path / split / f"{name}.png")
    return tmp_path


def test_the_real_masks_have_the_known_pixels(data_root):
    data = real(data_root)
    pixels, shown = data.class_pixels()
    assert pixels.tolist() == TRAIN
    assert TRAIN[0] <= shown[0] <= sum(TRAIN) and (shown >= pixels).all()
    assert sum(TRAIN) + VOID == 367 * 360 * 480
    lines = data.describe()
    for line, split, count in zip(lines, ("train", "val", "test"), (367, 101, 117), strict=False):
        assert_named(line, split, count, "480 x 360")
    assert_named(lines[3], "3.9 %", "void")
    assert not any("warning" in line for line in lines)
    assert 0.02 < data.baselines()["most_frequent"] < 0.03
    assert 0.1 < data.baselines()["per_position"] < 0.2


def test_the_real_images_come_whole_and_as_crops(data_root):
    data = real(data_root, balanced=0.5)
    batch = next(iter(data.val_dataloader()))
    assert batch["image"].shape == (8, 3, 192, 240)
    assert batch["size"].tolist() == [[360, 480]] * 8
    assert batch["inside"].tolist() == [[180, 240]] * 8
    assert (batch["mask"][:, 180:] == 255).all()
    assert batch["mask"].max() == 255 and batch["mask"][batch["mask"] < 255].max() <= 10
    batch = next(iter(data.train_dataloader()))
    assert batch["mask"].shape == (8, 192, 240)
    light = batch["image"].float().mean(1)
    assert light[batch["mask"] == 0].mean() > light[batch["mask"] == 3].mean() > 10  # the sky is lighter than the road


def test_folders_and_lists_give_the_same_pairs(made_up):
    folders = CamVid(str(made_up), image_size=None, workers=0)
    folders.setup("fit")
    for split in ("train", "val", "test"):
        lines = [f"/SegNet/CamVid/{split}/{n}.png /SegNet/CamVid/{split}annot/{n}.png" for n in "ab"]
        (made_up / f"{split}.txt").write_text("\n".join(lines) + "\n")
    lists = CamVid(str(made_up), image_size=None, workers=0)
    lists.setup("fit")
    for loaders in ((data.test_dataloader(), data.val_dataloader()) for data in (folders, lists)):
        ids = [name for loader in loaders for batch in loader for name in batch["id"]]
        assert ids == ["test/a.png", "test/b.png", "val/a.png", "val/b.png"]
    assert torch.equal(*(next(iter(data.val_dataloader()))["mask"] for data in (folders, lists)))


def test_eleven_is_void(made_up):
    data = CamVid(str(made_up), image_size=None, workers=0)
    data.setup("fit")
    source, _ = data.splits["train"]
    for i in range(2):
        raw = source.maps.values(i)
        assert (raw == 11).any()
        np.testing.assert_array_equal(source.mask(i), np.where(raw == 11, 255, raw))
    assert len(data.classes) == len(data.palette) == 11
    assert data.palette[data.classes.index("road")] == (128, 64, 128)


def test_another_value_is_refused(made_up):
    save(np.full((12, 16), 12, np.uint8), made_up / "valannot" / "a.png")
    data = CamVid(str(made_up), image_size=None, workers=0)
    with refuses(DataError, made_up / "valannot" / "a.png", "192 pixels", "value 12", "0 to 10"):
        data.setup("fit")


def test_another_layout_is_refused(tmp_path):
    with refuses(DataError, tmp_path, "train.txt", "train", "trainannot"):
        CamVid(str(tmp_path)).setup("fit")
