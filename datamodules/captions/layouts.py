"""Captions as they are published."""

import csv
import io
import json
from pathlib import Path
from typing import Any, ClassVar

from datamodules.base import Split
from datamodules.captions.caption_data import CaptionData, Listed
from datamodules.roles import Role
from datamodules.text.lines import whole_lines
from modules.contracts import DataError

KARPATHY: dict[str, Split] = {"train": "train", "restval": "train", "val": "val", "test": "test"}


class CaptionTable(CaptionData):
    """A CSV file with columns `image` and `caption`, a row for each caption.

    A column `split` says train, val or test; without it, all are for training.

    Args:
        root: the file.
        images: the folder of the pictures; null for that of the file.

    Raises:
        DataError: columns or fields that are missing, a split that is none, pictures that are missing or broken.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location", "images": "location"}

    def __init__(self, root: str, images: str | None = None, **kwargs):
        super().__init__(**kwargs)
        self.root, self.images = Path(root), Path(images) if images else Path(root).parent

    def listed(self) -> tuple[Path, dict[Split, Listed]]:
        rows = csv.DictReader(io.StringIO("\n".join(whole_lines(self.root))), strict=True)
        if not {"image", "caption"} <= set(rows.fieldnames or ()):
            raise DataError(f"{self.root} has columns {', '.join(rows.fieldnames)}: it needs image and caption")
        found: dict[Split, Listed] = {"train": {}, "val": {}, "test": {}}
        try:
            for row in rows:
                self._add(found, row, rows.line_num)
        except csv.Error as error:
            raise DataError(f"{self.root} is no CSV after line {rows.line_num:,}: {error}") from error
        return self.images, found

    def _add(self, found: dict[Split, Listed], row: dict[str | None, Any], line: int) -> None:
        if None in row or row["caption"] is None:
            raise DataError(f'{self.root} line {line:,} has another number of fields than its header: quote it "..."')
        split = row.get("split") or "train"
        if split not in found:
            raise DataError(f"{self.root} line {line:,} has the split {split!r}: it is train, val or test")
        found[split].setdefault(row["image"], []).append(row["caption"])


class Flickr8k(CaptionData):
    """Flickr8k (Hodosh et al. 2013): five captions a picture, the splits of its authors.

    `Flickr8k.token.txt`, `Flickr_8k.trainImages.txt`, `devImages`, `testImages`, and `Images` or `Flicker8k_Dataset`.

    Args:
        root: the folder.

    Raises:
        DataError: files that are missing, a line without a tab, pictures that are missing or broken.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location"}

    def __init__(self, root: str, **kwargs):
        super().__init__(**kwargs)
        self.root = Path(root)

    def listed(self) -> tuple[Path, dict[Split, Listed]]:
        path, captions = self.root / "Flickr8k.token.txt", {}
        for number, line in enumerate(whole_lines(path), 1):
            name, tab, caption = line.partition("\t")
            if not tab and line.strip():
                raise DataError(f"{path} line {number:,} has no tab between picture#number and caption")
            captions.setdefault(name.rpartition("#")[0], []).append(caption)
        parts: dict[Split, str] = {"train": "train", "val": "dev", "test": "test"}
        lists = {split: whole_lines(self.root / f"Flickr_8k.{part}Images.txt") for split, part in parts.items()}
        folders = [self.root / name for name in ("Images", "Flicker8k_Dataset")]
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if folder is None:
            raise DataError(f"{self.root} has neither Images nor Flicker8k_Dataset: one of them holds the pictures")
        names = {split: [line.strip() for line in lines if line.strip()] for split, lines in lists.items()}
        return folder, {split: {name: captions.get(name, []) for name in part} for split, part in names.items()}


class COCOCaptions(CaptionData):
    """COCO captions, or Flickr8k and Flickr30k, in the splits and the JSON format of Karpathy and Fei-Fei (2015).

    Args:
        root: the folder of the pictures, or for COCO of `train2014` and `val2014`.
        file: the JSON file, below `root` or anywhere.

    Raises:
        DataError: the file is missing or of another format, pictures that are missing or broken.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location", "file": "samples"}

    def __init__(self, root: str, file: str = "dataset_coco.json", **kwargs):
        super().__init__(**kwargs)
        self.root = Path(root)
        self.file = self.root / file if (self.root / file).is_file() else Path(file)

    def listed(self) -> tuple[Path, dict[Split, Listed]]:
        found: dict[Split, Listed] = {"train": {}, "val": {}, "test": {}}
        try:
            for image in json.loads(self.file.read_text("utf-8"))["images"]:
                name = f"{image['filepath']}/{image['filename']}" if image.get("filepath") else image["filename"]
                found[KARPATHY[image["split"]]][name] = [sentence["raw"] for sentence in image["sentences"]]
        except OSError as error:
            raise DataError(f"cannot read {self.file}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.file} is not in the format of Karpathy's splits, images with filename, split and sentences: "
                f"{type(error).__name__} {error}"
            ) from error
        return self.root, found
