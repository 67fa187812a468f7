"""Base of the image data modules: splits, label subsets, batches of the contract, broken files."""

import pickle
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import albumentations as A
import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import ImageFolder, Shapes
from datamodules.division import divide
from modules.contracts import ConfigError, DataError
from tests.helpers.batches import assert_same, epoch
from tests.helpers.errors import assert_named, refuses

FLAT = {"cat": 20, "dog": 10}


def folder(root: Path, **options) -> ImageFolder:
    """An ImageFolder set up with small images and batches, loading in the main process; `options` override."""
    data = ImageFolder(str(root), **({"image_size": 16, "batch_size": 4, "workers": 0} | options))
    data.setup("fit")
    return data


def names(batches: Iterable[dict]) -> list[str]:
    return [name for batch in batches for name in batch["id"]]


def ids(data: ImageFolder, split: str) -> list[str]:
    return names(data.plain_dataloader(split))


def labels(data: ImageFolder, split: str) -> list[int]:
    return torch.cat([batch["label"] for batch in data.plain_dataloader(split)]).tolist()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# Validation images -------------------------------------------------------------------------------------------------


def test_validation_gets_the_same_share_of_every_class(image_folder):
    data = folder(image_folder({"train/cat": 40, "train/dog": 20, "test/cat": 5, "test/dog": 5}), val_split=0.25)
    train, val, test = (line.strip() for line in data.describe()[:3])
    assert (train[:6], val[:4], test[:5]) == ("train:", "val:", "test:")
    assert "15 to 30 each" in train and test.endswith(", 5 each")
    assert np.bincount(labels(data, "val")).tolist() == [10, 5]
    assert np.bincount(labels(data, "train")).tolist() == [30, 15]


def test_validation_images_are_never_trained_on(image_folder):
    data = folder(image_folder(FLAT), val_split=0.3)
    train, val = set(ids(data, "train")), set(ids(data, "val"))
    assert not train & val
    assert len(train | val) == 30
    assert {name for batch in epoch(data) for name in batch["id"]} <= train


def test_validation_images_are_the_same_for_every_seed(image_folder, monkeypatch):
    root, seen = image_folder(FLAT), []
    for seed in ("0", "1"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        seen.append(ids(folder(root, val_split=0.3, label_fraction=0.5), "val"))
    assert seen[0] == seen[1]


def test_a_class_of_one_image_is_trained_on(image_folder):
    data = folder(image_folder({"cat": 20, "dog": 1}), val_split=0.3)
    assert np.bincount(labels(data, "train"), minlength=2).tolist() == [14, 1]


def test_a_validation_folder_is_used_whole_and_training_left_alone(image_folder):
    data = folder(image_folder({"train/cat": 9, "train/dog": 9, "val/cat": 3, "val/dog": 3}), val_split=0.5)
    assert len(ids(data, "train")) == 18
    assert len(ids(data, "val")) == 6


def test_a_validation_share_of_zero_gives_no_validation(image_folder):
    data = folder(image_folder(FLAT), val_split=0.0)
    assert not data.has("val")
    assert data.val_dataloader() == []
    assert len(ids(data, "train")) == 30


# Few labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("few", [{"label_fraction": 0.2}, {"num_labels": 6}], ids=["fraction", "number"])
def test_few_labels_are_the_same_share_of_every_class(image_folder, few):
    data = folder(image_folder(FLAT), val_split=0.0, **few)
    assert np.bincount(labels(data, "train")).tolist() == [4, 2]


def test_few_labels_leave_validation_and_test_whole(image_folder):
    root = image_folder({"train/cat": 20, "train/dog": 20, "test/cat": 5, "test/dog": 5})
    data = folder(root, val_split=0.25, label_fraction=0.1)
    assert [len(ids(data, split)) for split in ("train", "val", "test")] == [4, 10, 10]


def test_few_labels_are_drawn_with_the_seed(image_folder, monkeypatch):
    root, drawn = image_folder(FLAT), {}
    for seed in ("0", "0", "1", "2"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        now = tuple(ids(folder(root, label_fraction=0.3), "train"))
        assert drawn.setdefault(seed, now) == now
    assert len(set(drawn.values())) == 3


def test_few_labels_keep_every_class():
    classes = np.repeat([0, 1, 2], [1000, 10, 1])
    chosen, rest = divide(classes, np.arange(1011), 0.01, np.random.default_rng(0))
    assert np.bincount(classes[chosen]).tolist() == [10, 1, 1]
    assert sorted([*chosen, *rest]) == list(range(1011))


def test_more_labels_than_images_are_refused(image_folder):
    with refuses(ConfigError, "data.num_labels", 31, 30):
        folder(image_folder(FLAT), val_split=0.0, num_labels=31)


def test_a_fraction_and_a_number_of_labels_together_are_refused(image_folder):
    with refuses(ConfigError, "data.label_fraction", 0.5, "data.num_labels", 6):
        folder(image_folder(FLAT), label_fraction=0.5, num_labels=6)


def test_one_label_is_one_and_not_all(image_folder):
    data = folder(image_folder(FLAT), val_split=0.0, num_labels=1)
    assert np.bincount(labels(data, "train")).tolist() == [1, 1]


# Batches -------------------------------------------------------------------------------------------------------------


def test_training_batches_follow_the_contract(image_folder):
    batches = epoch(folder(image_folder(FLAT), val_split=0.0, augment="flip"))
    assert len(batches) == 30 // 4
    for batch in batches:
        assert set(batch) == {"image", "label", "id"}
        assert (batch["image"].shape, batch["image"].dtype) == ((4, 3, 16, 16), torch.uint8)
        assert (batch["label"].shape, batch["label"].dtype) == ((4,), torch.int64)
        assert [Path(name).parent.name for name in batch["id"]] == [["cat", "dog"][c] for c in batch["label"]]


def test_views_are_different_versions_of_the_same_images(image_folder):
    batch = epoch(folder(image_folder(FLAT), views=2, crop=(0.2, 1.0), augment="simclr"))[0]
    assert set(batch) == {"views", "label", "id"}
    first, second = batch["views"]
    assert first.shape == second.shape == (4, 3, 16, 16)
    assert first.dtype == second.dtype == torch.uint8
    assert all(not torch.equal(a, b) for a, b in zip(first, second, strict=True))


MULTI_CROP = {"views": 2, "local_views": 3, "local_size": 8, "crop": (0.4, 1.0), "augment": "simclr"}


def test_local_views_follow_the_global_ones_in_their_own_size(image_folder):
    for batch in epoch(folder(image_folder(FLAT), **MULTI_CROP)):
        assert [tuple(view.shape) for view in batch["views"]] == [(4, 3, 16, 16)] * 2 + [(4, 3, 8, 8)] * 3
        assert all(view.dtype == torch.uint8 for view in batch["views"])
        assert not torch.equal(batch["views"][2], batch["views"][3])


def test_local_views_leave_the_global_ones_as_they_are(image_folder):
    root = image_folder(FLAT)
    alone, joined = (epoch(folder(root, **(MULTI_CROP | {"local_views": n}))) for n in (0, 3))
    assert_same(alone, [batch | {"views": batch["views"][:2]} for batch in joined])


def test_local_crops_cover_their_own_share_of_the_image(tmp_path):
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8), (200, 200))
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    across = np.stack([ramp, ramp.T, ramp], axis=-1)
    for i in range(8):
        Image.fromarray(across).save(tmp_path / ("cat", "dog")[i % 2] / f"{i}.png")
    data = folder(tmp_path, **(MULTI_CROP | {"augment": "none", "local_crop": (0.25, 0.25), "val_split": 0.0}))
    for batch in epoch(data):
        for view in batch["views"][2:]:
            wide, high = (torch.tensor([np.ptp(one[c]) for one in view.numpy()]) / 200 * 8 / 7 for c in (0, 1))
            np.testing.assert_allclose(wide * high, 0.25, atol=0.03)


def test_validation_has_global_views_only(image_folder):
    data = folder(image_folder({"train/cat": 8, "test/cat": 8}), **MULTI_CROP, val_split=0.5)
    for loader in (data.val_dataloader(), data.test_dataloader()):
        assert all([view.shape[-1] for view in batch["views"]] == [16, 16] for batch in loader)


@pytest.mark.integration
def test_workers_and_resuming_change_no_local_view(image_folder):
    root = image_folder(FLAT)
    whole = epoch(folder(root, **MULTI_CROP), 3)
    resumed = folder(root, **MULTI_CROP, workers=2)
    resumed.load_state_dict({"epoch": 3, "samples": 8})
    assert_same(epoch(resumed, 3), whole[2:])


def test_images_reach_the_batch_with_rows_columns_and_channels_in_place(image_folder):
    root = image_folder({"cat": 4, "dog": 4}, size=(16, 16))
    data = folder(root, val_split=0.0)
    for batch in data.plain_dataloader("train"):
        for image, name in zip(batch["image"], batch["id"], strict=True):
            np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), np.asarray(Image.open(root / name)))


def test_epochs_differ_in_order_and_augmentation(image_folder):
    data = folder(image_folder(FLAT), val_split=0.0, crop=(0.2, 1.0))
    images = [{n: image for b in epoch(data, e) for n, image in zip(b["id"], b["image"], strict=True)} for e in (0, 1)]
    assert list(images[0]) != list(images[1])
    both = images[0].keys() & images[1].keys()
    assert both
    assert all(not torch.equal(images[0][name], images[1][name]) for name in both)


@pytest.mark.integration
@pytest.mark.parametrize("views", [1, 2])
def test_the_number_of_workers_changes_nothing(image_folder, views):
    root = image_folder(FLAT)
    alone, helped = (folder(root, workers=w, views=views, crop=(0.2, 1.0), augment="simclr") for w in (0, 2))
    loaders = alone.train_dataloader(), helped.train_dataloader()
    for number in (0, 1):
        for loader in loaders:
            loader.sampler.set_epoch(number)
        assert_same(*map(list, loaders))


@pytest.mark.integration
def test_transforms_from_the_yaml_draw_the_same_with_any_number_of_workers(image_folder):
    root = image_folder(FLAT)
    runs = [epoch(folder(root, workers=w, augment=[A.GaussNoise(p=0.5), A.Rotate(p=0.5)])) for w in (0, 2)]
    assert_same(*runs)


def test_the_seed_changes_order_and_augmentation(image_folder, monkeypatch):
    root, seen = image_folder(FLAT), []
    for seed in ("0", "1"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        seen.append(epoch(folder(root, crop=(0.2, 1.0))))
    assert [b["id"] for b in seen[0]] != [b["id"] for b in seen[1]]


@pytest.mark.integration
@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_epoch_goes_on_with_the_batches_that_were_not_seen(image_folder, workers):
    root, options = image_folder(FLAT), {"crop": (0.2, 1.0), "augment": "flip", "workers": workers}
    whole = epoch(folder(root, **options), 3)
    resumed = folder(root, **options)
    resumed.load_state_dict({"epoch": 3, "samples": 8})
    assert_same(epoch(resumed, 3), whole[2:])
    assert_same(epoch(resumed, 4), epoch(folder(root, **options), 4))


def test_two_devices_share_the_images_of_one(image_folder):
    root = image_folder(FLAT)
    one = epoch(folder(root, batch_size=8))
    parts = []
    for rank in (0, 1):
        data = folder(root, batch_size=4)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)
        parts.append(epoch(data))
    for whole, *shares in zip(one, *parts, strict=True):
        assert sorted(whole["id"]) == sorted(names(shares))


def test_evaluation_is_in_order_whole_and_without_augmentation(image_folder):
    root = image_folder({"train/cat": 5, "test/cat": 7})
    data = folder(root, crop=(0.2, 0.3), augment="simclr")
    batches = list(data.test_dataloader())
    assert names(batches) == [f"test/cat/{i:03d}.png" for i in range(7)]
    assert_same(batches, list(folder(root).test_dataloader()))


def test_validation_of_views_is_augmented_alike_in_every_epoch_and_for_every_seed(image_folder, monkeypatch):
    root, seen = image_folder(FLAT), []
    for seed in ("0", "1"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        loader = folder(root, views=2, crop=(0.2, 1.0), augment="simclr").val_dataloader()
        seen.append(list(loader))
        loader.sampler.set_epoch(1)  # as the trainer does
        seen.append(list(loader))
    assert "views" in seen[0][0]
    for other in seen[1:]:
        assert_same(seen[0], other)


def test_prediction_takes_the_test_images_plainly(image_folder):
    data = folder(image_folder({"train/cat": 5, "test/cat": 7}), views=2, crop=(0.2, 1.0))
    batches = list(data.predict_dataloader())
    assert names(batches) == [f"test/cat/{i:03d}.png" for i in range(7)]
    assert all("image" in batch for batch in batches)


# Broken images -----------------------------------------------------------------------------------------------------


def test_a_truncated_image_stops_before_the_first_step(image_folder):
    root = image_folder(FLAT)
    cut_short(root / "cat" / "003.png")
    with refuses(DataError, 1, 30, root / "cat/003.png", "--data.on_error skip"):
        folder(root)


def test_a_text_file_named_jpg_stops_before_the_first_step(image_folder):
    root = image_folder({"train/cat": 5, "test/cat": 5})
    (root / "test" / "cat" / "notes.jpg").write_text("not an image")
    with refuses(DataError, 1, 11, root / "test/cat/notes.jpg", "--data.on_error skip"):
        folder(root)


def test_of_several_broken_images_one_is_named_and_the_rest_counted(image_folder):
    root = image_folder(FLAT)
    broken = ("cat/001.png", "cat/002.png", "dog/003.png")
    for name in broken:
        cut_short(root / name)
    with refuses(DataError, 3, 30, *(root / name for name in broken), "--data.on_error skip"):
        folder(root)


def test_skipped_images_are_counted_listed_and_left_out(image_folder, tmp_path):
    root = image_folder(FLAT)
    for name in ("cat/001.png", "dog/003.png"):
        cut_short(root / name)
    data = ImageFolder(str(root), image_size=16, batch_size=4, workers=0, on_error="skip", val_split=0.0)
    data.trainer = L.Trainer(
        default_root_dir=tmp_path / "run", accelerator="cpu", logger=False, enable_checkpointing=False
    )
    (tmp_path / "run").mkdir()
    data.setup("fit")
    assert (tmp_path / "run" / "skipped.txt").read_text() == "cat/001.png\ndog/003.png\n"
    train, skipped = data.describe()
    assert_named(train, "train", 28, 2, "9 to 19")
    assert_named(skipped, 2, "skipped.txt")
    left = ids(data, "train")
    assert len(left) == 28
    assert not {"cat/001.png", "dog/003.png"} & set(left)


def test_nothing_skipped_leaves_no_list(image_folder, tmp_path):
    data = folder(image_folder(FLAT), on_error="skip")
    assert data.skipped == []
    (train, val), (baseline, *_) = data.describe(), data.describe_classes()
    assert_named(train, "train", 27, 2, "9 to 18")
    assert_named(val, "val", 3, 2, "1 to 2")
    assert_named(baseline, "val", 0.667, "'cat'")


def test_an_image_that_goes_missing_stops_or_is_left_out(image_folder):
    root = image_folder({"cat": 4, "dog": 4})
    strict, lenient = (folder(root, val_split=0.0, on_error=kind, batch_size=8) for kind in ("raise", "skip"))
    (root / "cat" / "002.png").unlink()
    with refuses(DataError, root / "cat/002.png"):
        epoch(strict)
    (batch,) = epoch(lenient)
    assert len(batch["image"]) == len(batch["label"]) == len(batch["id"]) == 7


# Settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("devices", [1, 2])
def test_a_batch_larger_than_the_training_set_is_refused(image_folder, devices):
    data = folder(image_folder(FLAT), val_split=0.0, batch_size=31)
    data.trainer = SimpleNamespace(global_rank=0, world_size=devices)
    with refuses(DataError, "batch_size", 31, devices, 30, 30 // devices):
        data.train_dataloader()


@pytest.mark.parametrize(
    "wrong",
    [
        {"views": 0},
        {"image_size": 0},
        {"label_fraction": 0},
        {"label_fraction": 1.5},
        {"label_fraction": -3},
        {"num_labels": 0},
        {"num_labels": -3},
        {"val_split": 1.0},
        {"val_split": -0.1},
        {"crop": (0.5, 0.2)},
        {"crop": (0, 1)},
    ],
)
def test_settings_out_of_range_are_refused(image_folder, wrong):
    with refuses(ConfigError, next(iter(wrong))):
        folder(image_folder(FLAT), **wrong)


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"local_views": -1}, ["data.local_views", -1]),
        ({"views": 1}, ["data.local_views", 3, "data.views", 1, 2]),
        ({"local_size": 17}, ["data.local_size", 17, "data.image_size", 16]),
        ({"local_size": 0}, ["data.local_size", 0, "data.image_size", 16]),
        ({"local_crop": (0.4, 0.05)}, ["data.local_crop", [0.4, 0.05]]),
        ({"augment": [A.CenterCrop(16, 16)]}, ["data.augment", "8 pixels"]),
    ],
)
def test_local_views_that_make_no_sense_are_refused(image_folder, wrong, names):
    with refuses(ConfigError, *names):
        folder(image_folder(FLAT), **(MULTI_CROP | wrong))


def test_transforms_that_end_in_another_size_are_refused_before_anything_loads(image_folder):
    with refuses(ConfigError, "data.augment", "(8, 8, 3)", "16 x 16"):
        folder(image_folder(FLAT), augment=[A.CenterCrop(8, 8)])


# Memory --------------------------------------------------------------------------------------------------------------


def test_a_dataset_is_arrays_and_travels_to_workers_without_its_images(image_folder):
    root = image_folder({"cat": 300, "dog": 300}, size=(8, 8))
    data = folder(root, val_split=0.0)
    dataset = data.dataset("train", "train")
    source = dataset.source
    assert source.paths.dtype.kind == "S"
    assert all(isinstance(a, np.ndarray) and a.dtype != object for a in (source.paths, source.labels, dataset.indices))
    arrays = source.paths.nbytes + source.labels.nbytes + dataset.indices.nbytes
    assert len(pickle.dumps(dataset)) < arrays + 10_000


def test_a_dataset_does_not_grow_while_it_is_read(image_folder):
    data = folder(image_folder(FLAT), crop=(0.2, 1.0), augment="simclr")
    loader = data.train_dataloader()
    list(loader)
    before = len(pickle.dumps(loader.dataset))
    for number in range(1, 4):
        loader.sampler.set_epoch(number)
        list(loader)
    assert len(pickle.dumps(loader.dataset)) <= before + 200  # counters of a few bytes


def test_an_image_that_only_decoding_finds_broken_is_left_out_counted_and_listed(tmp_path, image_folder):
    root = image_folder({"cat": 4, "dog": 4})
    whole = (root / "cat" / "001.png").read_bytes()
    (root / "cat" / "001.png").write_bytes(whole[:60] + bytes(len(whole) - 80) + whole[-20:])  # begins and ends well
    data = ImageFolder(str(root), image_size=16, batch_size=8, workers=0, on_error="skip", val_split=0.0)
    data.trainer = L.Trainer(
        default_root_dir=tmp_path / "run", accelerator="cpu", logger=False, enable_checkpointing=False
    )
    (tmp_path / "run").mkdir()
    data.setup("fit")
    assert not data.skipped
    for _ in range(2):
        (batch,) = data.train_dataloader()
        batch = data.on_before_batch_transfer(batch, 0)
        assert len(batch["label"]) == len(batch["id"]) == 7
    assert data.skipped == ["cat/001.png"]
    assert (tmp_path / "run" / "skipped.txt").read_text() == "cat/001.png\n"


def test_what_is_kept_of_images_is_found_again_until_they_change(tmp_path, monkeypatch, image_folder):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root, calls = image_folder({"train/cat": 6, "train/dog": 6, "test/cat": 1, "test/dog": 1}), []

    def computed(about: int = 1, splits: tuple = ("train",), **settings) -> int:
        """Number of computations so far."""
        data = ImageFolder(**({"root": str(root), "image_size": 16, "workers": 0, "val_split": 0} | settings))
        data.setup()
        data.cached("thing", splits, [about], lambda: {"a": torch.tensor(calls.append(1) is None)})
        return len(calls)

    assert [computed(), computed(), computed(batch_size=3)] == [1, 1, 1]
    assert [
        computed(about=2),
        computed(splits=("train", "test")),
        computed(image_size=20),
        computed(label_fraction=0.5),
    ] == [
        2,
        3,
        4,
        5,
    ]
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(root / "train/cat/000.png")
    assert [computed(), computed()] == [6, 6]


def test_what_is_kept_of_built_in_images_depends_on_every_one_of_them(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = []
    for count in (4, 4, 5):
        data = Shapes(train=count, val=2, test=2, image_size=16, workers=0)
        data.setup()
        found.append(data.cached("thing", ["train"], [], lambda: {"n": torch.tensor(len(found))})["n"].item())
    assert found == [0, 0, 2]
