"""UCF101 and HMDB51: cross-validation folds as their authors publish them."""

from pathlib import Path

import pytest

from datamodules import HMDB51, UCF101
from datamodules.video.videos_on_disk import VideosOnDisk
from modules.contracts import DataError
from tests.helpers.errors import refuses
from tests.helpers.filmed import film

SMALL = {"frames": 4, "image_size": 16, "batch_size": 2, "workers": 0}


@pytest.fixture
def ucf(tmp_path: Path) -> Path:
    """Two classes, six groups of two clips each; fold 2 tests groups 1 and 2."""
    root, names = tmp_path / "ucf", {"train": [], "test": []}
    for label, action in enumerate(("Archery", "YoYo"), 1):
        for group in range(1, 7):
            for part in (1, 2):
                name = f"{action}/v_{action}_g{group:02}_c{part:02}.avi"
                film(root / "UCF-101" / name, 5, seed=group)
                names["test" if group < 3 else "train"].append(name if group < 3 else f"{name} {label}")
    lists = root / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Archery\n2 YoYo\n")
    for kind, lines in names.items():
        (lists / f"{kind}list02.txt").write_text("".join(f"{line}\r\n" for line in lines))  # as in the original
    return root


@pytest.fixture
def hmdb(tmp_path: Path) -> Path:
    root = tmp_path / "hmdb"
    for action in ("brush_hair", "wave"):
        lines = []
        for i, movie in enumerate(("April_09", "Fame", "Heat", "unused")):
            for part in (0, 1):
                name = f"{movie}_{action}_u_nm_np1_ba_goo_{part}.avi"
                film(root / "hmdb51_org" / action / name, 5, seed=i)
                lines.append(f"{name} {(1, 1, 2, 0)[i]} \n")
        (root / "splits").mkdir(exist_ok=True)
        (root / "splits" / f"{action}_test_split1.txt").write_text("".join(lines))
    return root


def ready(data: VideosOnDisk) -> dict[str, list[tuple[str, int]]]:
    """Path and label of the videos of each split."""
    data.setup("fit")
    return {
        split: [(source.id(i), int(source.labels[i])) for i in rows] for split, (source, rows) in data.splits.items()
    }


def test_ucf101_is_divided_as_published(ucf):
    data = UCF101(str(ucf), fold=2, val_split=0.0, **SMALL)
    found = ready(data)
    assert data.classes == ["Archery", "YoYo"]
    assert {split: len(rows) for split, rows in found.items()} == {"train": 16, "test": 8}
    assert all(int(name.split("_g")[1][:2]) < 3 for name, _ in found["test"])
    assert all((label == 1) == name.startswith("YoYo/") for rows in found.values() for name, label in rows)


def test_validation_gets_whole_groups(ucf):
    found = ready(UCF101(str(ucf), fold=2, val_split=0.25, **SMALL))
    groups = {split: {name.split("_c")[0] for name, _ in rows} for split, rows in found.items()}
    assert not groups["train"] & groups["val"]
    assert {split: len(rows) for split, rows in found.items()} == {"train": 12, "val": 4, "test": 8}
    assert [label for _, label in found["val"]].count(1) == 2


def test_hmdb51_is_divided_as_published(hmdb):
    data = HMDB51(str(hmdb), val_split=0.0, **SMALL)
    found = ready(data)
    assert data.classes == ["brush_hair", "wave"]
    assert {split: len(rows) for split, rows in found.items()} == {"train": 8, "test": 4}
    assert all("/Heat_" in name for name, _ in found["test"])


def test_validation_of_hmdb51_gets_whole_movies(hmdb):
    found = ready(HMDB51(str(hmdb), val_split=0.5, **SMALL))
    movies = {split: {name.split("_u_")[0] for name, _ in rows} for split, rows in found.items()}
    assert {split: len(rows) for split, rows in found.items()} == {"train": 4, "val": 4, "test": 4}
    assert not movies["train"] & movies["val"]


@pytest.mark.parametrize(("kind", "file"), [(UCF101, "classInd.txt"), (HMDB51, "CLASS_test_split1.txt")])
def test_a_folder_without_the_files_is_named(kind, file, tmp_path):
    with refuses(DataError, "data.root", tmp_path / "none", file):
        kind(str(tmp_path / "none"))


def test_videos_that_are_not_there_are_named(ucf, hmdb):
    (ucf / "UCF-101" / "Archery" / "v_Archery_g03_c01.avi").unlink()
    with refuses(DataError, 1, 24, ucf / "UCF-101/Archery/v_Archery_g03_c01.avi", "--data.on_error skip"):
        ready(UCF101(str(ucf), fold=2, **SMALL))
    (hmdb / "hmdb51_org").rename(hmdb.parent / "elsewhere")
    with refuses(DataError, "data.root", hmdb, "brush_hair/"):
        HMDB51(str(hmdb))


def test_a_line_that_says_nothing_is_named(hmdb):
    path = hmdb / "splits" / "wave_test_split1.txt"
    path.write_text(path.read_text() + "some.avi 7\n")
    with refuses(DataError, path, "line 9", "'7'", 0, 1, 2):
        HMDB51(str(hmdb))
