"""Real images, where they lie; skipped where they do not."""

import gzip

import numpy as np
import pytest

from datamodules import MNIST, ImageFolder
from tests.helpers.errors import assert_named


def test_cifar_as_jpeg_folders(data_root):
    if not (data_root / "cifar10" / "train").is_dir():
        pytest.skip("no cifar10/train in the real data")
    data = ImageFolder(str(data_root / "cifar10"), image_size=32, workers=0)
    data.setup("fit")
    assert len(data.classes) == 10
    assert "airplane" in data.classes
    (train, val, test), (baseline,) = data.describe(), data.describe_classes()
    assert_named(train, "train", "9,000", 10, "900 each")
    assert_named(val, "val", "1,000", 10, "100 each")
    assert_named(test, "test", "2,000", 10, "200 each")
    assert_named(baseline, "val", "0.100", "'airplane'")
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].shape == (64, 3, 32, 32)
    assert 90 < batch["image"].float().mean() < 150


def test_mnist_in_its_original_files(data_root, tmp_path):
    archives = data_root / "mnist" / "MNIST" / "raw"
    if not archives.is_dir():
        pytest.skip("no mnist/MNIST/raw in the real data")
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in archives.glob("*.gz"):
        (raw / archive.stem).write_bytes(gzip.decompress(archive.read_bytes()))
    data = MNIST(str(tmp_path), image_size=28, workers=0)
    data.setup("fit")
    (train, ours), (_, val), (test, _) = (data.splits[split] for split in ("train", "val", "test"))
    assert (len(ours) + len(val), len(test)) == (60_000, 10_000)
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert train.images.mean() / 255 == pytest.approx(0.1307, abs=1e-4)
