"""Data sets in torchvision's layouts, written small: the same images and labels come out as went in."""

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torchvision

from datamodules import CIFAR10, CIFAR100, MNIST, FashionMNIST
from modules.contracts import DataError
from tests.helpers.errors import refuses

SMALL = {"image_size": 32, "batch_size": 4, "workers": 0}


def idx(path: Path, array: np.ndarray) -> None:
    """The file format of MNIST: magic number, sizes, bytes."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


def digits(root: Path, name: str = "MNIST") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    random, raw = np.random.default_rng(0), root / name / "raw"
    raw.mkdir(parents=True)
    written = {}
    for split, prefix, count in (("train", "train", 40), ("test", "t10k", 20)):
        images, labels = random.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10
        idx(raw / f"{prefix}-images-idx3-ubyte", images)
        idx(raw / f"{prefix}-labels-idx1-ubyte", labels)
        written[split] = images, labels
    return written


@pytest.fixture
def cifar(tmp_path, monkeypatch) -> np.ndarray:
    """CIFAR-10 of 50 + 10 images, planes first, without the checksums that only the real one has."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (60, 3072), np.uint8)
    for i, name in enumerate([*[f"data_batch_{n}" for n in range(1, 6)], "test_batch"]):
        part = slice(10 * i, 10 * i + 10)
        (folder / name).write_bytes(pickle.dumps({"data": images[part], "labels": list(range(10))}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {i}" for i in range(10)]}))
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda path, md5=None: Path(path).is_file())
    return images.reshape(60, 3, 32, 32)


def test_cifar_images_and_labels_come_out_as_they_went_in(tmp_path, cifar):
    data = CIFAR10(str(tmp_path), **SMALL, val_split=0.0)
    data.setup("fit")
    assert data.classes == [f"class {i}" for i in range(10)]
    for split, expected in (("train", cifar[:50]), ("test", cifar[50:])):
        batches = list(data.plain_dataloader(split))
        np.testing.assert_array_equal(np.concatenate([b["image"].numpy() for b in batches]), expected)
        assert np.concatenate([b["label"].numpy() for b in batches]).tolist() == list(range(10)) * (len(expected) // 10)


def test_cifar_images_are_named_by_split_and_number(tmp_path, cifar):
    data = CIFAR10(str(tmp_path), **SMALL)
    data.setup("test")
    assert next(iter(data.test_dataloader()))["id"] == ["test/000000", "test/000001", "test/000002", "test/000003"]


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_gray_images_come_out_with_three_equal_channels(tmp_path, kind):
    written = digits(tmp_path, kind.__name__)
    data = kind(str(tmp_path), **(SMALL | {"image_size": 28}), val_split=0.0)
    data.setup("fit")
    assert len(data.classes) == 10
    for split, (images, labels) in written.items():
        batches = list(data.plain_dataloader(split))
        found = np.concatenate([b["image"].numpy() for b in batches])
        assert found.shape == (len(images), 3, 28, 28)
        for channel in range(3):
            np.testing.assert_array_equal(found[:, channel], images)
        assert np.concatenate([b["label"].numpy() for b in batches]).tolist() == labels.tolist()


def test_validation_is_a_stratified_share_of_training(tmp_path):
    digits(tmp_path)
    data = MNIST(str(tmp_path), **SMALL, val_split=0.25)
    data.setup("fit")
    source, val = data.splits["val"]
    assert np.bincount(source.labels[val]).tolist() == [1] * 10
    assert len(data.dataset("train", "train")) == 30


def test_images_are_shared_between_splits_not_copied(tmp_path):
    digits(tmp_path)
    data = MNIST(str(tmp_path), **SMALL, val_split=0.25)
    data.setup("fit")
    assert data.dataset("train", "train").source.images is data.dataset("val", "plain").source.images


@pytest.mark.parametrize("kind", [CIFAR10, CIFAR100, MNIST, FashionMNIST])
def test_a_data_set_that_is_not_there_is_refused(tmp_path, kind):
    with refuses(DataError, kind.__name__, tmp_path, "--data.download true", "--data.root"):
        kind(str(tmp_path))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_damaged_file_is_refused(tmp_path, share):
    digits(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with refuses(DataError, "MNIST", tmp_path, "--data.download true"):
        MNIST(str(tmp_path), **SMALL).setup("fit")
