"""Detection data: splits, classes, padding, aspect-ratio grouping, startup summary and listed files."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as pycoco

from benchmarks.evaluation import coco_eval
from datamodules import DetectionFolder, ShapesObjects
from datamodules.detection.box_statistics import Tally, histogram
from datamodules.detection.objects import ObjectFiles
from modules.contracts import ConfigError, DataError
from modules.contracts.image_ids import image_number
from tests.helpers.annotated import (
    HEIGHT,
    NUMBERS,
    WIDTH,
    annotation,
    coco,
    image,
    labels,
    make_image,
    mask,
    table,
    thing,
    xml,
)
from tests.helpers.batches import assert_same, epoch
from tests.helpers.errors import assert_named, line_naming, refuses
from tests.helpers.rectangles import SHAPES, Rectangles, assert_boxes_fit, assert_masks_fit, rectangles

SIDES = np.array(SHAPES)


def rectangle_data(**settings) -> Rectangles:
    data = Rectangles(**settings)
    data.setup("fit")
    return data


def folder(root, **settings) -> DetectionFolder:
    """Objects set up with small images and batches, loading in the main process; `options` override."""
    data = DetectionFolder(
        str(root), **({"image_size": None, "batch_size": 2, "workers": 0, "val_split": 0.0} | settings)
    )
    data.setup("fit")
    return data


def named(data, split: str = "train") -> set[tuple]:
    """Every object of a split as (image's name, class, box)."""
    batches = data.val_dataloader() if split == "val" else data._in_order("train", "evaluate")
    return {
        (name.rsplit("/")[-1], data.classes[label], tuple(box))
        for batch in batches
        for name, boxes, found in zip(batch["id"], batch["boxes"], batch["labels"], strict=True)
        for box, label in zip(boxes.tolist(), found.tolist(), strict=True)
    }


# Splits and classes --------------------------------------------------------------------------------------------------


def as_coco(root):
    """A cat and a dog in one image, a cat in another, nothing in a third."""
    boxes = [annotation(1, 7), annotation(1, 3, [0, 0, 60, 40]), annotation(2, 7, [1, 2, 3, 4])]
    coco(root, boxes, [image(number) for number in (1, 2, 3)])
    for number in (1, 2, 3):
        make_image(root / "images" / f"{number}.png")


def as_voc(root):
    for number, *things in (
        (1, thing(), thing("dog", (0, 0, 60, 40))),
        (2, thing("cat", (1, 2, 4, 6))),
        (3,),
    ):
        make_image(root / "JPEGImages" / f"{number}.png")
        xml(root / "Annotations" / f"{number}.xml", *things)


def as_yolo(root):
    for number, *lines in ((1, "1 .33333333 .25 .33333333 .25", "0 .5 .5 1 1"), (2, "1 .04166667 .1 .05 .1"), (3,)):
        make_image(root / "images" / "train" / f"{number}.png")
        labels(root / "labels" / "train" / f"{number}.txt", *lines)
    labels(root / "data.yaml", "train: images/train", "names: [dog, cat]")


def as_csv(root):
    lines = "1.png,10,5,30,15,cat", "1.png,0,0,60,40,dog", "2.png,1,2,4,6,cat", "3.png,,,,,"
    table(root, *lines)
    for number in (1, 2, 3):
        make_image(root / f"{number}.png")


def as_png(root):
    whole, small = np.full((HEIGHT, WIDTH), 2001, np.uint16), np.zeros((HEIGHT, WIDTH), np.uint16)
    whole[5:15, 10:30], small[2:6, 1:4] = 1001, 1001
    for number, numbers in ((1, whole), (2, small), (3, 0 * NUMBERS)):
        make_image(root / "images" / f"{number}.png")
        mask(root / "masks" / f"{number}.png", numbers)


FORMATS = {
    "coco": (as_coco, {}, ["dog", "cat"], [3, 7]),
    "voc": (as_voc, {}, ["cat", "dog"], [1, 2]),
    "yolo": (as_yolo, {}, ["dog", "cat"], [0, 1]),
    "csv": (as_csv, {}, ["cat", "dog"], [1, 2]),
    "png": (as_png, {"classes": ["cat", "dog"]}, ["cat", "dog"], [1, 2]),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_objects_under_its_own_numbers(tmp_path, kind):
    make, settings, classes, category_ids = FORMATS[kind]
    make(tmp_path)
    data = folder(tmp_path, **settings)
    assert (data.classes, data.category_ids) == (classes, category_ids)
    numbers = {name: image_number(name) for name in data.image_ids}
    assert sorted(data.image_ids.values()) == [1, 2, 3] if kind == "coco" else data.image_ids == numbers
    found = {(name, label, tuple(np.round(box, 4))) for name, label, box in named(data)}
    whole = (0, 0, 60, 40)
    assert found == {("1.png", "cat", (10, 5, 30, 15)), ("1.png", "dog", whole), ("2.png", "cat", (1, 2, 4, 6))}
    assert_named(data.describe()[0], "train", 3, "60 x 40", "3 objects", 1, max(data.image_ids))


def test_splits_of_the_annotations_are_taken_as_they_are(tmp_path):
    as_coco(tmp_path)
    make_image(tmp_path / "images" / "4.png")
    coco(tmp_path, [annotation(4, 3)], [image(4)], split="val")
    data = folder(tmp_path, val_split=0.5)
    assert named(data, "val") == {("4.png", "dog", (10, 5, 30, 15))}
    assert sum(len(batch["id"]) for batch in data.plain_dataloader("train")) == 3
    assert not data.has("test")


def test_validation_images_are_set_aside_and_few_labels_kept():
    data = rectangle_data(counts={"train": 40}, val_split=0.25, label_fraction=0.5)
    assert [len(data.splits[split][1]) for split in ("train", "val")] == [15, 10]
    kept, judged = ({name for b in data.plain_dataloader(split) for name in b["id"]} for split in ("train", "val"))
    assert not kept & judged
    assert {name for batch in epoch(data) for name in batch["id"]} <= kept
    assert len(data.box_sizes()) == sum(len(data.splits["train"][0].objects(i)) for i in data.splits["train"][1])


# Batches -------------------------------------------------------------------------------------------------------------


def test_images_keep_their_proportions_and_are_padded_to_multiples_of_32():
    for batch in rectangle_data(masks=True, augment="none").val_dataloader():
        height, width = batch["image"].shape[2:]
        assert (batch["image"].dtype, height % 32, width % 32) == (torch.uint8, 0, 0)
        assert (height, width) == tuple(-(-side // 32) * 32 for side in batch["inside"].amax(0).tolist())
        for k, ((rows, columns), size) in enumerate(zip(batch["inside"].tolist(), batch["size"].tolist(), strict=True)):
            assert max(rows, columns) == 128, "as large as they go into 128 x 128"
            assert abs(rows / columns - size[0] / size[1]) < 0.01
            shown = batch["image"][k].permute(1, 2, 0).numpy()
            assert not shown[rows:].any() and not shown[:, columns:].any()
            assert (shown[:rows, :columns].sum(-1) > 0).all()
            assert_boxes_fit(shown[:rows, :columns], batch["boxes"][k].numpy(), batch["labels"][k].numpy())


def test_own_sizes_are_kept_and_padded():
    sizes = ((100, 130), (97, 90), (60, 131), (64, 70))
    batch = next(iter(rectangle_data(image_size=None, drawn={"shapes": sizes}).val_dataloader()))
    assert batch["inside"].equal(batch["size"])
    assert batch["size"].tolist() == [*map(list, sizes)]
    assert batch["image"].shape == (4, 3, 128, 160)


@pytest.mark.parametrize("settings", [{"augment": "flip"}, {"augment": "strong", "scale": (0.5, 2.0), "mosaic": 0.5}])
def test_training_batches_follow_the_contract(settings):
    data, seen = rectangle_data(masks=True, **settings), 0
    for batch in epoch(data):
        assert set(batch) == {"id", "image", "size", "inside", "boxes", "labels", "masks"}
        room = batch["image"].shape[2:]
        parts = zip(*(batch[key] for key in ("boxes", "labels", "masks", "inside")), strict=True)
        for boxes, found, masks, (height, width) in parts:
            assert (boxes.shape, boxes.dtype) == ((len(found), 4), torch.float32)
            assert (found.dtype, masks.dtype, masks.shape) == (torch.int64, torch.uint8, (len(found), *room))
            assert not masks[:, height:].any() and not masks[:, :, width:].any()
            assert (boxes <= torch.tensor([width, height] * 2)).all()
            seen += len(boxes)
    assert seen > 20


def test_masks_reach_the_batch_on_their_objects():
    for batch in epoch(rectangle_data(masks=True, augment="flip")):
        for k, shown in enumerate(batch["image"].permute(0, 2, 3, 1).numpy()):
            assert_masks_fit(shown, *(batch[key][k].numpy() for key in ("boxes", "labels", "masks")))


def test_images_without_objects_are_trained_on():
    data = rectangle_data(counts={"train": 20})
    batches = [batch for number in range(2) for batch in epoch(data, number)]
    empty = {name for b in batches for name, boxes in zip(b["id"], b["boxes"], strict=True) if boxes.shape == (0, 4)}
    assert empty == {f"train/{i}" for i in range(0, 20, 5)}


def test_crowds_are_in_the_truth_and_nowhere_to_be_found():
    data = rectangle_data(drawn={"crowds": 1}, masks=True)
    for batch in data.val_dataloader():
        for true, found in zip(batch["truth"], batch["labels"], strict=True):
            assert true["crowd"].sum() == min(1, len(true["labels"]))
            assert true["labels"][~true["crowd"]].equal(found)
            assert len(true["rle"]) == len(true["area"]) == len(true["labels"])
    objects = rectangles(24, crowds=1)
    assert len(data.box_sizes()) == (~objects.crowd).sum()
    assert_named(data.describe()[0], objects.crowd.sum(), "crowd")


def test_the_truth_is_in_pixels_of_the_original_and_stays_on_the_host():
    data, source = rectangle_data(masks=True), rectangles(9, 1)
    places = 0
    for batch in data.val_dataloader():
        moved = data.transfer_batch_to_device(batch, torch.device("meta"), 0)
        assert {moved[key].device.type for key in ("image", "inside", "size")} == {"meta"}
        assert {boxes.device.type for boxes in moved["boxes"]} == {"meta"}
        for true in moved["truth"]:
            mine = source.objects(places)
            assert true["boxes"].device.type == "cpu"
            assert true["boxes"].tolist() == mine.boxes.tolist()
            assert true["rle"] == mine.rles
            places += 1
    assert places == 9


def test_probes_see_squares_and_prediction_whole_images():
    data = rectangle_data(counts={"train": 8, "test": 5}, image_size=(96, 128))
    assert next(iter(data.plain_dataloader("train")))["image"].shape == (4, 3, 96, 96)
    found = list(data.predict_dataloader())
    assert [name for batch in found for name in batch["id"]] == [f"test/{i}" for i in range(5)]
    assert torch.cat([batch["size"] for batch in found]).tolist() == [*SIDES.tolist(), SIDES[0].tolist()]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_that_exif_turns_have_their_objects_upright(tmp_path, orientation):
    upright, (x0, y0, x1, y1) = np.full((HEIGHT, WIDTH, 3), 128, np.uint8), (8, 4, 30, 20)
    upright[y0:y1, x0:x1] = (230, 20, 20)
    undo = (None, 0, 3, 1, 5, 2, 6, 4)[orientation - 1]  # Pillow's number of the way back
    stored = Image.fromarray(upright)
    stored = stored if undo is None else stored.transpose(Image.Transpose(undo))
    exif = stored.getexif()
    exif[0x0112] = orientation
    (tmp_path / "images").mkdir()
    stored.save(tmp_path / "images" / "1.png", exif=exif)
    outline = [[x0, y0, x1, y0, x1, y1, x0, y1]]
    coco(tmp_path, [annotation(1, 3, [x0, y0, x1 - x0, y1 - y0], segmentation=outline)], [image(1)])
    data = folder(tmp_path, masks=True, batch_size=1, augment="flip")
    for batch in (*(b for number in range(4) for b in epoch(data, number)), *data._in_order("train", "evaluate")):
        assert batch["size"].tolist() == batch["inside"].tolist() == [[HEIGHT, WIDTH]]
        shown = batch["image"][0, :, :HEIGHT, :WIDTH].permute(1, 2, 0).numpy()
        assert assert_boxes_fit(shown, batch["boxes"][0].numpy(), batch["labels"][0].numpy()) == 1
        if "masks" in batch:
            assert ((shown[..., 0] > 200) == batch["masks"][0][0, :HEIGHT, :WIDTH].numpy()).all()


# Batches of one shape ------------------------------------------------------------------------------------------------


def test_training_batches_are_of_images_of_about_one_shape():
    data = rectangle_data(counts={"train": 48}, augment="none")
    for number in range(3):
        batches = epoch(data, number)
        assert sorted(name for b in batches for name in b["id"]) == sorted(f"train/{i}" for i in range(48))
        shapes = [{tuple(size) for size in batch["size"].tolist()} for batch in batches]
        assert [len(shape) for shape in shapes] == [1] * 12
        order = [next(iter(shape)) for shape in shapes]
        assert order != sorted(order), "the batches are shuffled"


def test_images_of_one_shape_are_not_grouped():
    assert rectangle_data(drawn={"shapes": ((96, 128), (100, 128))}).kinds() is None
    assert len(set(rectangle_data(drawn={"shapes": ((96, 128), (128, 96))}).kinds())) == 2


@pytest.mark.integration
@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_epoch_goes_on_with_the_batches_that_were_not_seen(workers):
    settings = {"counts": {"train": 24}, "masks": True, "scale": (0.5, 1.5), "mosaic": 0.3, "workers": workers}
    whole = epoch(rectangle_data(**settings), 3)
    resumed = rectangle_data(**settings)
    resumed.load_state_dict({"epoch": 3, "samples": 8})
    assert_same(epoch(resumed, 3), whole[2:])
    assert_same(epoch(resumed, 4), epoch(rectangle_data(**settings), 4))


def test_devices_share_the_shape_of_a_global_batch():
    ranks = []
    for rank in (0, 1):
        data = rectangle_data(counts={"train": 48}, augment="none", batch_size=2)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2, is_global_zero=False)
        ranks.append(epoch(data))
    assert not {n for b in ranks[0] for n in b["id"]} & {n for b in ranks[1] for n in b["id"]}
    for one, other in zip(*ranks, strict=True):
        assert one["size"].unique(dim=0).equal(other["size"].unique(dim=0))


# Startup summary -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image_size", [None, 128, (64, 200)])
def test_box_sizes_are_those_of_the_boxes_that_the_network_gets(image_size):
    data = rectangle_data(image_size=image_size, augment="none")
    found = [boxes[:, 2:] - boxes[:, :2] for batch in data._in_order("train", "evaluate") for boxes in batch["boxes"]]
    assert np.abs(data.box_sizes() - torch.cat(found).numpy()).max() < 0.5  # images have whole pixels


@pytest.mark.parametrize(("name", "along"), [("center", 1), ("everywhere", 10)])
def test_boxes_without_a_network_score_as_pycocotools_says(name, along):
    drawn = {"crowds": 1, "shapes": ((64, 80), (72, 64)), "most": 3}
    data = rectangle_data(counts={"train": 60, "val": 60}, drawn=drawn)
    train, val = (rectangles(60, seed, **drawn) for seed in (0, 1))
    sizes = np.repeat(train.shapes, np.diff(train.starts), 0)[:, ::-1]
    mine = [(train.classes == label) & ~train.crowd for label in range(6)]
    sides = np.stack([((train.boxes[m, 2:] - train.boxes[m, :2]) / sizes[m]).mean(0) for m in mine])
    shares = np.array([m.sum() for m in mine]) / (~train.crowd).sum()
    predictions = {"boxes": [], "scores": [], "labels": []}
    for height, width in val.shapes.tolist():
        found = [
            (((x + 0.5) / along, (y + 0.5) / along), label)
            for label in range(6)
            for y in range(along)
            for x in range(along)
        ]
        boxes = [np.r_[center - sides[k] / 2, center + sides[k] / 2].clip(0, 1) for center, k in found]
        predictions["boxes"].append(torch.tensor(np.array(boxes) * [width, height, width, height]))
        predictions["scores"].append(torch.tensor([shares[label] for _, label in found]))
        predictions["labels"].append(torch.tensor([label for _, label in found]))
    truths = [{k: getattr(val.objects(i), k) for k in ("boxes", "labels", "crowd", "area")} for i in range(60)]
    theirs = coco_eval(predictions, truths, 6, "boxes")
    theirs.evaluate(), theirs.accumulate(), theirs.summarize()
    assert data.baselines()[name] == pytest.approx(theirs.stats[1], abs=1e-6)
    assert theirs.stats[1] > 0 or name == "center"


def test_the_description_counts_objects_by_class_and_size(tmp_path):
    big = annotation(2, 7, [0, 0, 120, 110])
    coco(tmp_path, [annotation(1), annotation(1, 3), big], [image(1), image(2, height=120, width=130)])
    make_image(tmp_path / "images" / "1.png"), make_image(tmp_path / "images" / "2.png", (120, 130))
    train, source, _, dog, cat, sizes = folder(tmp_path).describe()  # without val there is nothing to judge
    assert_named(train, "train", 2, "60 x 40", "130 x 120", "3 objects")
    assert_named(source, tmp_path / "annotations" / "instances_train.json")
    assert re.findall(r"dog|cat|\d+", dog) == ["dog", "1", "1", "100", "0", "0"] and dog.count("█") == 12
    assert re.findall(r"dog|cat|\d+", cat) == ["cat", "2", "2", "50", "0", "50"] and cat.count("█") == 24
    assert re.findall(r"\d+", sizes)[-5:] == ["14", "5", "14", "5", "105"]  # boxes of 10 x 20, twice, and 110 x 120


def test_of_many_classes_the_most_frequent_are_counted_in_lines_and_the_rest_in_one():
    sizes = np.zeros((80, 3), np.int64)
    sizes[20:, 0] = np.arange(60) + 1
    _, *lines, rest = histogram([f"c{i}" for i in range(80)], Tally(sizes, sizes[:, 0], np.zeros(0), 0), "train")
    assert [line.split()[0] for line in lines] == [f"c{i}" for i in reversed(range(70, 80))]
    assert_named(rest, 70, f"{sum(range(51)):,} objects", 20)


def test_a_split_without_objects_is_said_to_have_no_metrics(tmp_path):
    as_coco(tmp_path)
    make_image(tmp_path / "images" / "4.png")
    coco(tmp_path, [], [image(4)], split="val")
    lines = folder(tmp_path).describe()
    assert line_naming(lines, "val", "nan")
    assert not any(line.startswith("AP50") for line in lines)


def test_every_annotation_left_out_is_listed_once_and_counted(tmp_path):
    bad = [annotation(1, box=box) for box in ([1, 1, 0, 5], [1, 1, 5, -2], [99, 0, 5, 5], [1, 2, 3], None)]
    file = coco(tmp_path, [annotation(1), *bad, annotation(8), annotation(2, 3)], [image(1), image(2), image(3)])
    for number in (1, 3):
        make_image(tmp_path / "images" / f"{number}.png")
    run = tmp_path / "run"
    run.mkdir()
    for _ in range(2):  # a resumed run reads them again
        data = DetectionFolder(str(tmp_path), image_size=None, batch_size=2, workers=0, val_split=0.0, on_error="skip")
        data.trainer = SimpleNamespace(is_global_zero=True, default_root_dir=run, global_rank=0, world_size=1)
        data.setup("fit"), data.setup("test")
    listed = (run / "dropped.txt").read_text().splitlines()
    assert listed == data.dropped
    assert sorted(int(line.split("annotations[")[1].split("]")[0]) for line in listed) == [1, 2, 3, 4, 5, 6, 7]
    assert all(line.startswith(str(file)) for line in listed)
    assert line_naming(data.describe(), 7, 8, "dropped.txt")
    assert line_naming(data.describe(), "1 of 3")
    (skipped,) = (run / "skipped.txt").read_text().splitlines()
    assert_named(skipped, file, "images[1]", "2.png")
    assert {name for batch in epoch(data) for name in batch["id"]} == {"images/1.png", "images/3.png"}


# Refused settings and data -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": (1.5, 0.5)},
        {"scale": (0.0, 1.0)},
        {"mosaic": 1.1},
        {"copy_paste": -0.1},
        {"iou_crop": 2},
        {"min_visibility": 1.0},
        {"image_size": 0},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong):
    with refuses(ConfigError, f"data.{next(iter(wrong))}"):
        Rectangles(**wrong)


@pytest.mark.parametrize(
    ("settings", "error", "names"),
    [
        ({"masks": True}, DataError, ["data.masks", "true", "false"]),
        ({"copy_paste": 0.5}, ConfigError, ["data.copy_paste", 0]),
    ],
)
def test_masks_are_asked_of_data_that_has_them(settings, error, names):
    with refuses(error, *names):
        rectangle_data(drawn={"masks": False}, **settings)


@pytest.mark.parametrize("drawn", [{"most": 0}, {"crowds": 9}], ids=["bare", "crowds only"])
def test_training_images_of_which_none_shows_an_object_are_refused(drawn):
    with refuses(DataError, 10, "data.label_fraction", "data.num_labels", "data.val_split"):
        rectangle_data(counts={"train": 20}, drawn=drawn, label_fraction=0.5)


# The built-in world --------------------------------------------------------------------------------------------------


def test_the_built_in_objects_have_boxes_around_what_can_be_seen_of_them():
    data = ShapesObjects(train=30, val=6, test=6, image_size=96, masks=True, workers=0)
    data.setup("fit")
    source = data.splits["train"][0]
    assert isinstance(source, ObjectFiles)
    for split, (source, _) in data.splits.items():
        for i in range(len(source)):
            found = source.objects(i)
            assert 2 <= len(found) <= 5, split
            drawn = pycoco.decode(found.rles).transpose(2, 0, 1)
            assert (drawn.sum(0) <= 1).all(), "a pixel shows one object"
            assert found.area.tolist() == drawn.sum((1, 2)).tolist()
            for box, one in zip(found.boxes, drawn, strict=True):
                y, x = np.nonzero(one)
                assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
    assert sorted(data.image_ids.values()) == list(range(1, 43))
    assert len({data.splits[s][0].image(0).tobytes() for s in ("train", "val", "test")}) == 3
