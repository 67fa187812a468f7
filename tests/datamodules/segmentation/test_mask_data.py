"""Base of the semantic segmentation data modules: batches, class counts, baselines, and masks read once."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score

from datamodules import SegmentationFolder, ShapesMasks
from datamodules.segmentation import mask_statistics
from datamodules.segmentation.baselines import most_frequent
from datamodules.segmentation.mask_data import histogram
from datamodules.synthetic.render import boxes, render
from datamodules.synthetic.shapes_masks import SCENE
from datamodules.synthetic.world import scene
from modules.contracts import ConfigError, DataError
from modules.contracts.palette import palette
from tests.helpers.batches import assert_same, epoch
from tests.helpers.errors import assert_named, line_naming, refuses
from tests.helpers.images import save

ALL = {"train": 12, "val": 3, "test": 4}


def masks(root: Path, **options) -> SegmentationFolder:
    """Masks set up with small images and batches, loading in the main process; `options` override."""
    data = SegmentationFolder(str(root), **({"image_size": 16, "batch_size": 4, "workers": 0} | options))
    data.setup("fit")
    return data


# Batches -------------------------------------------------------------------------------------------------------------


def test_training_batches_are_crops_with_their_maps(pair_folder):
    for batch in epoch(masks(pair_folder(ALL), image_size=(16, 20))):
        assert set(batch) == {"image", "mask", "id"}
        assert (batch["image"].shape, batch["image"].dtype) == ((4, 3, 16, 20), torch.uint8)
        assert (batch["mask"].shape, batch["mask"].dtype) == ((4, 16, 20), torch.int64)
        assert set(batch["mask"].unique().tolist()) <= {0, 1, 2, 255}


def test_evaluation_batches_are_whole_images_in_order(pair_folder):
    data = masks(pair_folder(ALL), image_size=(48, 48))
    for loader, count in ((data.val_dataloader(), 3), (data.test_dataloader(), 4)):
        (batch,) = loader
        assert set(batch) == {"image", "mask", "id", "size", "inside", "original_mask"}
        assert [Path(name).name for name in batch["id"]] == [f"{i:03d}.png" for i in range(count)]
        assert batch["size"].tolist() == [[24, 32]] * count
        assert batch["inside"].tolist() == [[36, 48]] * count
        assert (batch["mask"][:, 36:] == 255).all() and (batch["mask"][:, :36] < 3).all()
        assert not batch["image"][:, :, 36:].any()


def test_resized_or_padded_maps_come_in_their_own_size_too_and_others_do_not(pair_folder):
    root = pair_folder({"train": 4, "val": 2})
    (whole,) = masks(root, image_size=None).val_dataloader()
    (resized,) = masks(root, image_size=16).val_dataloader()
    assert "original_mask" not in whole
    assert [one.dtype for one in resized["original_mask"]] == [torch.uint8] * 2
    assert torch.equal(torch.stack(resized["original_mask"]).long(), whole["mask"])


def test_prediction_takes_whole_test_images(pair_folder):
    batches = list(masks(pair_folder(ALL)).predict_dataloader())
    assert [name for batch in batches for name in batch["id"]] == [f"images/test/{i:03d}.png" for i in range(4)]
    assert all({"mask", "size", "inside"} < set(batch) for batch in batches)


def test_maps_reach_the_batch_pixel_for_pixel(pair_folder):
    (batch,) = masks(pair_folder(ALL), image_size=None).val_dataloader()
    assert batch["mask"].shape == (3, 24, 32)
    assert torch.equal(batch["image"][:, 0], (batch["mask"] * 20).to(torch.uint8))
    assert len(batch["mask"].unique()) == 3


def test_own_sizes_are_padded_to_the_largest_of_the_batch(pair_folder, tmp_path):
    root = pair_folder({"train": 4, "val": 1})
    for folder, shape in (("images", (10, 50, 3)), ("masks", (10, 50))):
        save(np.ones(shape, np.uint8), root / folder / "val" / "wide.png")
    (batch,) = masks(root, image_size=None).val_dataloader()
    assert batch["image"].shape == (2, 3, 24, 50)
    assert batch["inside"].tolist() == [[24, 32], [10, 50]]
    assert (batch["mask"][1, 10:] == 255).all() and (batch["mask"][0, :, 32:] == 255).all()


def test_own_sizes_train_on_crops_of_that_size_if_there_is_one(pair_folder):
    assert epoch(masks(pair_folder(ALL), image_size=None))[0]["image"].shape == (4, 3, 24, 32)


def test_own_sizes_that_differ_are_refused_for_training(pair_folder):
    root = pair_folder(ALL)
    for folder, shape in (("images", (10, 50, 3)), ("masks", (10, 50))):
        save(np.ones(shape, np.uint8), root / folder / "train" / "wide.png")
    with refuses(ConfigError, "data.image_size"):
        masks(root, image_size=None).train_dataloader()


def test_probes_see_squares_without_maps(pair_folder):
    batch = next(iter(masks(pair_folder(ALL), image_size=(16, 20)).plain_dataloader("train")))
    assert set(batch) == {"image", "id"}
    assert batch["image"].shape == (4, 3, 16, 16)
    batch = next(iter(masks(pair_folder(ALL), image_size=None).plain_dataloader("test")))
    assert batch["image"].shape == (4, 3, 224, 224)


# Draws ---------------------------------------------------------------------------------------------------------------


@pytest.mark.integration
@pytest.mark.parametrize("augment", ["flip", "strong"])
def test_the_number_of_workers_changes_nothing(pair_folder, augment):
    root = pair_folder(ALL)
    assert_same(*(epoch(masks(root, workers=w, augment=augment, balanced=0.5), 1) for w in (0, 2)))


@pytest.mark.integration
@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_epoch_goes_on_with_the_batches_that_were_not_seen(pair_folder, workers):
    root, options = pair_folder(ALL), {"augment": "simclr", "balanced": 0.5, "workers": workers}
    whole, resumed = epoch(masks(root, **options), 3), masks(root, **options)
    resumed.load_state_dict({"epoch": 3, "samples": 8})
    assert_same(epoch(resumed, 3), whole[2:])
    assert_same(epoch(resumed, 4), epoch(masks(root, **options), 4))


def test_epochs_and_seeds_differ(pair_folder, monkeypatch):
    root = pair_folder(ALL)
    seen = [epoch(masks(root), 0), epoch(masks(root), 1)]
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    seen.append(epoch(masks(root), 0))
    assert len({tuple(name for batch in batches for name in batch["id"]) for batches in seen}) == 3
    assert len({torch.cat([b["mask"].flatten() for b in batches]).numpy().tobytes() for batches in seen}) == 3


# Splits and settings -------------------------------------------------------------------------------------------------


def test_validation_images_are_set_aside_and_few_labels_kept(pair_folder):
    data = masks(pair_folder({"train": 20, "test": 5}), val_split=0.25, num_labels=6)
    assert [len(data.dataset(split, "plain")) for split in ("train", "val", "test")] == [6, 5, 5]


@pytest.mark.parametrize("scale", [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_a_scale_that_is_no_range_is_refused(pair_folder, scale):
    with refuses(ConfigError, "data.scale", list(scale), [0.5, 2.0]):
        masks(pair_folder(ALL), scale=scale)


def test_balanced_is_a_probability(pair_folder):
    with refuses(ConfigError, "data.balanced", 1.5, 0, 1):
        masks(pair_folder(ALL), balanced=1.5)


# Counts --------------------------------------------------------------------------------------------------------------


def counted(root: Path) -> Path:
    """Three training masks of 2 x 4 pixels, one validation mask."""
    for i, rows in enumerate(([[0, 0, 0, 0], [1, 1, 255, 255]], [[0] * 4] * 2, [[1, 1, 1, 1], [2, 2, 2, 255]])):
        save(np.array(rows, np.uint8), root / "masks" / "train" / f"{i}.png")
        save(np.zeros((2, 4, 3), np.uint8), root / "images" / "train" / f"{i}.png")
    save(np.array([[0, 0, 1, 1], [1, 2, 255, 2]], np.uint8), root / "masks" / "val" / "3.png")
    save(np.zeros((2, 4, 3), np.uint8), root / "images" / "val" / "3.png")
    return root


def test_pixels_of_each_class_and_of_the_images_that_show_it(tmp_path):
    pixels, shown = masks(counted(tmp_path), classes=["a", "b", "c", "d"], batch_size=1).class_pixels()
    assert pixels.tolist() == [12, 6, 3, 0]
    assert shown.tolist() == [6 + 8, 6 + 7, 7, 0]
    assert pixels.dtype == shown.dtype == np.int64


def test_few_labels_are_the_ones_that_are_counted(pair_folder):
    data = masks(pair_folder(ALL), num_labels=4)
    found = torch.cat([batch["mask"].flatten() for batch in epoch(masks_whole(data))])
    assert data.class_pixels()[0].tolist() == torch.bincount(found, minlength=3).tolist()


def masks_whole(data: SegmentationFolder) -> SegmentationFolder:
    """The same data module with whole images for crops."""
    data.crops = data._crops((24, 32))
    data.crops.scale, data.crops.balanced = (1.0, 1.0), 0.0
    return data


def test_the_most_frequent_class_everywhere():
    assert most_frequent(np.array([5, 9, 1]), np.array([40, 40, 20])) == pytest.approx(0.4 / 3)
    assert most_frequent(np.array([5, 9, 1]), np.array([50, 0, 50])) == 0  # the chosen class counts, with nothing right
    assert most_frequent(np.array([5, 9]), np.array([0, 10])) == 1


def test_baselines_are_what_scikit_learn_says_of_their_maps(pair_folder):
    data = masks(pair_folder(ALL, values=(0, 0, 0, 1, 1, 2, 255)))
    train, val = (
        np.stack([data.splits[split][0].mask(i) for i in range(ALL[split])]).reshape(ALL[split], -1)
        for split in ("train", "val")
    )
    counts = np.stack([(train == c).sum(0) for c in range(3)])
    place = np.where(counts.any(0), counts.argmax(0), 0)
    predicted = {"most_frequent": np.zeros_like(val), "per_position": np.broadcast_to(place, val.shape)}
    known = val != 255
    found = data.baselines()
    assert found.keys() == predicted.keys()
    for name, maps in predicted.items():
        assert found[name] == pytest.approx(jaccard_score(val[known], maps[known], average="macro"))
    assert found["per_position"] > found["most_frequent"]


def test_images_of_several_sizes_have_no_baseline_of_positions(pair_folder):
    root = pair_folder(ALL)
    for folder, shape in (("images", (10, 50, 3)), ("masks", (10, 50))):
        save(np.ones(shape, np.uint8), root / folder / "val" / "wide.png")
    assert masks(root).baselines().keys() == {"most_frequent"}


def test_a_test_set_alone_is_judged_without_counts(pair_folder):
    data = SegmentationFolder(str(pair_folder({"test": 3})), image_size=16, workers=0)
    data.setup("test")
    assert data.baselines() == {}
    (line,) = data.describe()
    assert_named(line, "test", 3, "32 x 24")


def test_the_description_names_sizes_shares_and_baselines(tmp_path):
    train, val, shares, sky, building, car, baselines, warning = masks(
        counted(tmp_path), classes=["sky", "building", "car"], batch_size=1
    ).describe()
    assert_named(train, "train", 3, "4 x 2")
    assert_named(val, "val", 1, "4 x 2")
    assert_named(shares, "12.5 %", "void")
    assert_named(sky, "sky", "57.14 %", 2)
    assert_named(building, "building", "28.57 %", 2)
    assert_named(car, "car", "14.29 %", 1)
    assert (sky.count("█"), building.count("█"), car.count("█")) == (24, 12, 6)
    assert_named(baselines, "mIoU", "val", 0.095)
    assert_named(warning, "warning", 1, "train/0.png", "val/3.png")


def test_a_class_that_never_occurs_is_warned_of_by_name(tmp_path):
    lines = masks(counted(tmp_path), classes=["sky", "road", "car", "tram", "bus"], batch_size=1).describe()
    assert line_naming(lines, "warning", "'tram', 'bus'")
    assert not any("warning" in line for line in histogram(["a", "b"], np.array([[3, 1, 0]])))


# Every mask is read once ---------------------------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch) -> list[int]:
    """Indices of the masks that are read for statistics."""
    seen, count = [], mask_statistics._count
    monkeypatch.setattr(mask_statistics, "_count", lambda pairs, index: seen.append(index) or count(pairs, index))
    return seen


def test_masks_are_counted_once_for_all_runs(pair_folder, reads):
    root = pair_folder(ALL)
    first = masks(root)
    assert len(reads) == sum(ALL.values())
    second = masks(root, image_size=(8, 8), augment="none", classes=["a", "b", "c"])
    assert len(reads) == sum(ALL.values())
    assert [a.tolist() for a in first.class_pixels()] == [a.tolist() for a in second.class_pixels()]
    assert first.baselines() == second.baselines()


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_changed_file_is_counted_anew(pair_folder, reads, folder):
    root = pair_folder({"train": 6, "val": 2})
    before = masks(root).class_pixels()[0]
    reads.clear()
    shape = (24, 32) if folder == "masks" else (24, 32, 3)
    save(np.zeros(shape, np.uint8), root / folder / "train" / "000.png")
    after = masks(root).class_pixels()[0]
    assert len(reads) == 6
    assert (before.tolist() == after.tolist()) == (folder == "images")


def test_an_unwritable_cache_changes_nothing(pair_folder, own_cache):
    root = pair_folder(ALL)
    expected = masks(root).describe()
    own_cache.rename(own_cache.with_name("moved"))
    own_cache.write_text("no folder")
    assert masks(root).describe() == expected


def test_what_is_drawn_in_memory_is_not_cached(own_cache):
    data = ShapesMasks(train=4, val=2, test=2, image_size=16, workers=0)
    data.setup("fit")
    assert data.baselines()
    assert not own_cache.exists()


# Colors -------------------------------------------------------------------------------------------------------------

VIVID = [10, 20, 30, 200, 0, 0, 0, 200, 0]


def test_classes_have_the_colors_of_the_mask_files(pair_folder):
    assert masks(pair_folder(ALL, colors=VIVID)).palette == [(10, 20, 30), (200, 0, 0), (0, 200, 0)]


@pytest.mark.parametrize("colors", [None, [0, 0, 0, 1, 1, 1, 2, 2, 2], [9, 8, 7] * 3], ids=["no", "gray", "equal"])
def test_without_colors_that_tell_classes_apart_they_have_those_of_pascal_voc(pair_folder, colors):
    assert masks(pair_folder(ALL, colors=colors)).palette == palette(3)


# Bad pairs -----------------------------------------------------------------------------------------------------------


def spoil(root: Path, mask: np.ndarray, name: str = "train/001.png") -> Path:
    return save(mask, root / "masks" / name)


def test_an_index_outside_the_classes_stops_before_the_first_step(pair_folder):
    root, mask = pair_folder(ALL), np.zeros((24, 32), np.uint8)
    mask[:3, :19] = 7
    path = spoil(root, mask)
    with refuses(DataError, path, 57, "value 7", "0 to 2", "data.classes", "data.ignore"):
        masks(root, classes=["a", "b", "c"])


def test_of_several_masks_with_other_indices_one_is_named_and_the_rest_counted(pair_folder):
    root = pair_folder(ALL)
    for name in ("train/003.png", "train/001.png", "val/000.png", "val/001.png"):
        spoil(root, np.full((24, 32), 9, np.uint8), name)
    with refuses(DataError, root / "masks/train/001.png", 768, "value 9", 2):
        masks(root, classes=["a", "b", "c"])


def test_a_mask_of_another_size_than_its_image_is_refused(pair_folder):
    root = pair_folder(ALL)
    path = spoil(root, np.zeros((24, 30), np.uint8), "val/002.png")
    with refuses(DataError, path, "30 x 24", root / "images/val/002.png", "32 x 24"):
        masks(root)


def test_a_mask_of_an_image_that_exif_turns_must_be_turned_too(pair_folder):
    root = pair_folder(ALL)
    exif = Image.Exif()
    exif[0x0112] = 6
    image = root / "images" / "train" / "000.png"
    with Image.open(image) as file:
        file.save(image, exif=exif)
    with refuses(DataError, root / "masks/train/000.png", image, "24 x 32", "EXIF"):
        masks(root)


def test_a_mask_with_colors_is_refused(pair_folder):
    root = pair_folder(ALL)
    path = spoil(root, np.zeros((24, 32, 3), np.uint8))
    with refuses(DataError, path, "RGB", "labelmap.txt"):
        masks(root, on_error="skip")


def test_void_as_255_and_as_a_class_is_refused(pair_folder):
    root = pair_folder(ALL, values=(0, 1, 2, 255))
    with refuses(DataError, "'Void / other'", "value 2", 255, "data.ignore"):
        masks(root, classes=["a", "b", "Void / other"])
    assert masks(root, classes=["a", "b", "Void / other"], ignore=2).classes == ["a", "b"]
    assert masks(pair_folder(ALL, "no255"), classes=["a", "b", "void"]).classes == ["a", "b", "void"]


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_broken_file_stops_or_is_left_out(pair_folder, folder):
    root = pair_folder(ALL)
    path = root / folder / "train" / "004.png"
    path.write_bytes(path.read_bytes()[:-30])
    with refuses(DataError, 1, 19, path, "--data.on_error skip"):
        masks(root)
    data = masks(root, on_error="skip")
    assert data.skipped == ["images/train/004.png"]
    assert len(data.dataset("train", "plain")) == 11
    assert data.class_pixels()[0].sum() == 11 * 24 * 32


def test_a_mask_that_goes_missing_is_left_out_of_its_batch(pair_folder):
    root = pair_folder(ALL)
    data = masks(root, on_error="skip")
    (root / "masks" / "test" / "002.png").unlink()
    (batch,) = data.test_dataloader()
    assert batch["skipped"] == ["images/test/002.png"]
    assert len(batch["mask"]) == 3


# The built-in world --------------------------------------------------------------------------------------------------


def test_the_built_in_world_has_a_class_for_every_pixel():
    data = ShapesMasks(train=60, val=10, test=10, batch_size=20, workers=0)
    data.setup("fit")
    assert data.classes[0] == "background" and len(data.classes) == 11
    batch = epoch(data)[0]
    assert batch["image"].shape == (20, 3, 64, 64)
    pixels, _ = data.class_pixels()
    assert pixels.sum() == 60 * 64 * 64
    assert pixels.min() > 0
    assert max(data.baselines().values()) < 0.15


def test_the_built_in_maps_are_those_of_the_things_in_the_scene():
    data = ShapesMasks(train=5, val=1, test=3, workers=0, val_split=0.0)
    data.setup("fit")
    (batch,) = data.test_dataloader()
    for i in range(3):
        drawn = scene(0, 20_000_000 + i, **SCENE)
        image, ids = render(drawn, 64)
        np.testing.assert_array_equal(batch["image"][i].permute(1, 2, 0), image)
        corners, shapes = boxes(ids, drawn)
        assert set(batch["mask"][i].unique().tolist()) == {0, *(shapes + 1).tolist()}
        for (x0, y0, x1, y1), shape in zip(corners.astype(int), shapes, strict=True):
            assert (batch["mask"][i, y0:y1, x0:x1] == shape + 1).any()
        assert ((batch["mask"][i] == 0).numpy() == (ids == 0)).all()


def test_splits_of_the_built_in_world_share_no_image():
    data = ShapesMasks(train=20, val=20, test=20, image_size=16, workers=0)
    data.setup("fit")
    images = [data.splits[split][0].image(i).tobytes() for split in ("train", "val", "test") for i in range(20)]
    assert len(set(images)) == 60


def test_legends_that_differ_are_different_baselines(pair_folder):
    data = masks(pair_folder(ALL, values=(0, 0, 1, 2)))
    other = masks(pair_folder(ALL, values=(0, 0, 1, 2)), ignore=0)
    assert dataclasses.asdict(data.splits["train"][0].legend) != dataclasses.asdict(other.splits["train"][0].legend)
    assert data.baselines() != other.baselines()
