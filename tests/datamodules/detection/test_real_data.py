"""Batches of BCCD, COCO and DSB 2018 against other readers of their files."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as pycoco
from pycocotools.coco import COCO

from datamodules import DetectionFolder
from tests.helpers.errors import line_naming


@pytest.fixture
def data(data_root, request):
    """The data set of the test's parameter, set up; (folder, settings)."""
    folder, settings = request.param
    if not (data_root / folder).is_dir():
        pytest.skip(f"no {folder} in the real data")
    found = DetectionFolder(str(data_root / folder), **({"workers": 0, "image_size": 256} | settings))
    found.setup("fit")
    return found


def evaluated(data: DetectionFolder, split: str = "val") -> list[dict]:
    """Each image's part of the batches."""
    return [
        {key: values[k] for key, values in batch.items()}
        for batch in data._in_order(split, "evaluate")
        for k in range(len(batch["id"]))
    ]


def root(data: DetectionFolder) -> Path:
    return data.splits["train"][0].files.root


BLOOD = "bccd_voc", {"image_size": (240, 320)}
COMMON = "coco100_instances", {"masks": True}
NUCLEI = "dsb2018_nuclei", {"masks": True}


@pytest.mark.parametrize("data", [BLOOD], indirect=True)
def test_blood_cells_have_their_splits_classes_and_boxes(data):
    assert {split: len(rows) for split, (_, rows) in data.splits.items()} == {"train": 205, "val": 87, "test": 72}
    assert (data.classes, data.category_ids) == (["Platelets", "RBC", "WBC"], [1, 2, 3])
    assert sorted(Path(line.split(".xml")[0]).name for line in data.dropped) == ["BloodImage_00338", "BloodImage_00343"]
    assert line_naming(data.describe(), 2, "4,888", "dropped.txt")
    for found in evaluated(data, "test"):
        tree = ElementTree.parse(root(data) / "Annotations" / Path(found["id"]).with_suffix(".xml").name)
        objects = tree.findall("object")
        corners = [[float(o.findtext(f"bndbox/{e}")) for e in ("xmin", "ymin", "xmax", "ymax")] for o in objects]
        boxes = np.clip(corners, 0, [640, 480, 640, 480])
        kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
        assert [data.classes[k] for k in found["labels"]] == [
            o.findtext("name") for o, k in zip(objects, kept, strict=True) if k
        ]
        assert np.allclose(found["truth"]["boxes"], boxes[kept])
        assert np.allclose(found["boxes"], boxes[kept] / 2), "from 640 x 480 to 320 x 240"
        assert found["image"].shape == (3, 256, 320)
        assert found["inside"].tolist() == [240, 320]


@pytest.mark.parametrize("data", [BLOOD], indirect=True)
def test_boxes_of_blood_cells_are_of_the_sizes_that_are_said(data):
    sizes = data.box_sizes()
    assert sizes.shape == (2804, 2)
    few, middle, most = np.percentile(np.sqrt(sizes.prod(1)), [5, 50, 95])
    assert line_naming(data.describe(), "5 %", *(f"{size:.0f}" for size in (few, middle, most)))
    white = np.concatenate([found["labels"] == 2 for found in evaluated(data, "train")])
    assert np.median(sizes[white].prod(1)) > 2 * np.median(sizes[~white].prod(1)), "white cells are the large ones"


@pytest.mark.parametrize("data", [COMMON], indirect=True)
def test_coco_has_its_ids_and_crowds(data):
    theirs = {split: COCO(root(data) / "annotations" / f"instances_{split}.json") for split in ("train", "val")}
    categories = sorted(theirs["train"].cats.values(), key=lambda category: category["id"])
    assert data.category_ids == [category["id"] for category in categories]
    assert data.classes == [category["name"] for category in categories]
    assert data.dropped == data.skipped == []
    crowds = 0
    for split, coco in theirs.items():
        for found in evaluated(data, split):
            number = data.image_ids[found["id"]]
            assert Path(found["id"]).name == coco.imgs[number]["file_name"]
            every, sure = (coco.loadAnns(coco.getAnnIds(number, iscrowd=flag)) for flag in (None, False))
            assert [data.category_ids[k] for k in found["labels"]] == [a["category_id"] for a in sure]
            truth = found["truth"]
            assert truth["crowd"].tolist() == [a["iscrowd"] == 1 for a in every]
            assert np.allclose(truth["area"], [a["area"] for a in every])
            assert all((pycoco.decode(r) == coco.annToMask(a)).all() for r, a in zip(truth["rle"], every, strict=True))
            crowds += int(truth["crowd"].sum())
    assert crowds == 6


@pytest.mark.parametrize("data", [COMMON], indirect=True)
def test_coco_is_trained_on_in_batches_of_about_one_shape_negatives_among_them(data):
    train, (source, rows) = data.train_dataloader(), data.splits["train"]
    names, ratios = [], []
    for batch in train:
        names += batch["id"]
        shape = torch.log2(batch["size"][:, 0] / batch["size"][:, 1])
        ratios.append(float(shape.max() - shape.min()))
        assert max(batch["image"].shape[2:]) <= 256
    assert len(names) == len(set(names)) == 80
    at_random = [np.ptp(np.log2(s[:, 0] / s[:, 1])) for s in np.split(source.shapes[rows], 10)]
    assert np.mean(ratios) < np.mean(at_random) / 2
    bare = [source.id(i) for i in rows if not len(source.objects(i))]
    assert len(bare) == 1
    assert bare[0] in names
    assert line_naming(data.describe(), "train", 1, bare[0])


@pytest.mark.parametrize("data", [NUCLEI], indirect=True)
def test_nuclei_are_those_of_their_id_pngs(data):
    assert (data.classes, data.category_ids) == (["nucleus"], [1])
    for found in evaluated(data):
        numbers = np.array(Image.open(root(data) / "masks" / Path(found["id"]).name))
        masks = pycoco.decode(found["truth"]["rle"]).transpose(2, 0, 1)
        assert masks.shape == (len(np.unique(numbers)) - 1, *numbers.shape)
        assert ((masks.sum(0) > 0) == (numbers > 0)).all()
        assert all(len(np.unique(numbers[mask > 0])) == 1 for mask in masks)
        factor = found["inside"].flip(0).repeat(2) / found["size"].flip(0).repeat(2)
        assert torch.allclose(found["boxes"], found["truth"]["boxes"] * factor, atol=1e-3)
