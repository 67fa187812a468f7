"""UCF101 and HMDB51 with their official cross-validation folds, in the layouts that their authors publish."""

import re
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from datamodules.base import Split
from datamodules.division import divide
from datamodules.setting_roles import Role
from datamodules.text_files import read_text
from datamodules.video.files import ListFile, read_classes
from datamodules.video.source import VideoFiles
from datamodules.video.videos_on_disk import DecodedVideos
from modules.contracts import DataError

Rows = list[tuple[str, int]]
"""Path below the folder of videos, and label."""


class _Folds(DecodedVideos):
    """Base of data sets with three official cross-validation folds (train/test splits).

    Validation videos are split off by whole groups, because clips cut from one recording look alike.

    Args:
        root: the folder that holds the videos' folders and that of the split files, in any depth of one.
        fold: number of the fold.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location", "fold": "samples"}

    def __init__(self, root: str, fold: Literal[1, 2, 3] = 1, **kwargs):
        super().__init__(**kwargs)
        self.root, self.fold = Path(root).expanduser(), fold
        self.rows = self.divided()
        self.videos = self.below(f"{self.classes[0]}/")

    def divided(self) -> dict[Split, Rows]:
        """Training and test videos of the fold; sets `classes`."""
        raise NotImplementedError

    def group(self, path: str) -> str:
        """The part of a path that clips of one recording share."""
        raise NotImplementedError

    def below(self, name: str) -> Path:
        """The folder that holds `name`: the root, or a folder in it."""
        folders = [self.root, *sorted(self.root.glob("*/"))] if self.root.is_dir() else []
        found = next((folder for folder in folders if (folder / name).exists()), None)
        if found is None:
            raise DataError(f"data.root {self.root} has no {name}: point it to the folder with videos and split files")
        return found

    def sources(self) -> dict[Split, VideoFiles]:
        rows = dict(self.rows)
        if self.val_split:
            rows["train"], rows["val"] = self._set_aside(rows["train"])
        return {split: self._source(rows[split]) for split in rows}

    def _set_aside(self, rows: Rows) -> tuple[Rows, Rows]:
        groups = [(label, self.group(path)) for path, label in rows]
        every = sorted(set(groups))
        labels = np.array([label for label, _ in every])
        chosen, _ = divide(labels, np.arange(len(every)), 1 - self.val_split, np.random.default_rng(0))
        kept = {every[i] for i in chosen}
        train = [row for row, group in zip(rows, groups, strict=True) if group in kept]
        return train, [row for row, group in zip(rows, groups, strict=True) if group not in kept]

    def _source(self, rows: Rows) -> VideoFiles:
        return self.read(self.videos, np.array([p.encode() for p, _ in rows]), np.array([label for _, label in rows]))


class UCF101(_Folds):
    """UCF101: 13,320 videos of 101 actions (Soomro et al. 2012), `UCF-101/CLASS/*.avi` and `ucfTrainTestlist/*.txt`."""

    def divided(self) -> dict[Split, Rows]:
        folder = self.below("classInd.txt")
        numbered = read_classes(folder / "classInd.txt")
        self.classes = list(numbered.values())
        labels = {key: i for i, pair in enumerate(numbered.items()) for key in pair}
        files: dict[Split, str] = {"train": "trainlist", "test": "testlist"}
        return {split: _listed(folder / f"{name}{self.fold:02}.txt", labels) for split, name in files.items()}

    def group(self, path: str) -> str:
        return re.sub(r"_c\d+\.\w+$", "", path)  # v_CLASS_g08_c01.avi


class HMDB51(_Folds):
    """HMDB51: 6,766 videos of 51 actions (Kuehne et al. 2011), `CLASS/*.avi` and `*/CLASS_test_split1.txt`."""

    def divided(self) -> dict[Split, Rows]:
        found = sorted(self.root.rglob(f"*_test_split{self.fold}.txt"))
        if not found:
            raise DataError(
                f"data.root {self.root} has no CLASS_test_split{self.fold}.txt: point it to their folder too"
            )
        self.classes = [path.name.removesuffix(f"_test_split{self.fold}.txt") for path in found]
        rows: dict[Split, Rows] = {"train": [], "test": []}
        kinds: dict[str, Split] = {"1": "train", "2": "test"}
        for label, (name, path) in enumerate(zip(self.classes, found, strict=True)):
            for number, line in enumerate(read_text(path).split("\n"), 1):
                video, _, kind = line.strip().rpartition(" ")
                if kind not in ("", "0", *kinds):
                    raise DataError(f"{path} line {number} ends in {kind!r}, but 0, 1 or 2 say what a video is for")
                if kind in kinds:
                    rows[kinds[kind]].append((f"{name}/{video.strip()}", label))
        return rows

    def group(self, path: str) -> str:
        folder, _, name = path.partition("/")
        return name.partition(f"_{folder}_")[0]  # MOVIE_CLASS_f_cm_np1_fr_med_0.avi


def _listed(path: Path, labels: dict[str, int]) -> Rows:
    paths, found = ListFile(path).samples(labels)
    return [(p.decode(), label) for p, label in zip(paths.tolist(), found.tolist(), strict=True)]
