"""Pascal VOC's layout, read as torchvision reads it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import VOCSegmentation as Reference

from datamodules import VOCSegmentation
from modules.contracts import DataError
from modules.contracts.palette import palette
from tests.helpers.errors import refuses
from tests.helpers.images import save

COLORS = [channel for color in palette(256) for channel in color]
NAMES = {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033"]}


@pytest.fixture
def kit(tmp_path) -> Path:
    folder, random = tmp_path / "VOCdevkit" / "VOC2012", np.random.default_rng(0)
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, names in NAMES.items():
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            mask = random.choice(np.array([*range(21), 255], np.uint8), (20, 30))
            save(mask, folder / "SegmentationClass" / f"{name}.png", COLORS)
            save(random.integers(0, 256, (20, 30, 3)).astype(np.uint8), folder / "JPEGImages" / f"{name}.jpg")
    return tmp_path


def voc(root: Path, **options) -> VOCSegmentation:
    data = VOCSegmentation(str(root), image_size=None, workers=0, batch_size=2, **options)
    data.setup("fit")
    return data


def test_images_and_masks_are_those_of_torchvision(kit):
    data = voc(kit)
    for split in NAMES:
        reference, (source, rows) = Reference(str(kit), image_set=split), data.splits[split]
        assert len(reference) == len(rows)
        for i, (image, mask) in enumerate(reference):
            np.testing.assert_array_equal(source.mask(i), np.asarray(mask))
            np.testing.assert_allclose(source.image(i).astype(int), np.asarray(image).astype(int), atol=8)
    assert not data.has("test")


def test_the_folder_of_the_year_will_do(kit):
    folder = kit / "VOCdevkit" / "VOC2012"
    for root in (folder.parent, folder):
        assert next(iter(voc(root).val_dataloader()))["id"] == ["JPEGImages/2007_000033.jpg"]


def test_classes_and_colors_are_those_of_the_challenge(kit):
    data = voc(kit)
    assert (len(data.classes), data.classes[0], data.classes[15], data.classes[20]) == (
        21,
        "background",
        "person",
        "tvmonitor",
    )
    assert data.palette[15] == (192, 128, 128)


def test_outlines_are_void(kit):
    (batch,) = voc(kit).val_dataloader()
    raw = np.asarray(Image.open(kit / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "2007_000033.png"))
    np.testing.assert_array_equal(batch["mask"][0], raw)
    assert (batch["mask"] == 255).any()


def test_a_missing_mask_is_refused_by_name(kit):
    mask = kit / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "2007_000039.png"
    mask.unlink()
    with refuses(DataError, mask, kit / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"):
        voc(kit)


def test_a_missing_data_set_says_how_to_get_it(tmp_path):
    with refuses(DataError, 2010, tmp_path, "--data.download true", "--data.root"):
        voc(tmp_path, year="2010")


def test_it_is_fetched_when_asked_for_and_missing(kit, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("torchvision.datasets.VOCSegmentation", lambda *args, **kwargs: calls.append((args, kwargs)))
    VOCSegmentation(str(kit), download=True).prepare_data()
    VOCSegmentation(str(tmp_path / "new")).prepare_data()
    assert calls == []
    VOCSegmentation(str(tmp_path / "new"), year="2007", download=True).prepare_data()
    assert calls == [((str(tmp_path / "new"), "2007", s), {"download": True}) for s in ("train", "test")]


def test_a_download_that_fails_is_one_sentence(tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.VOCSegmentation", fail)
    with refuses(DataError, 2012, tmp_path, "no route to host"):
        VOCSegmentation(str(tmp_path), download=True).prepare_data()
