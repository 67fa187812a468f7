"""Published layouts of image captions: CSV, Flickr8k, COCO and Karpathy's splits."""

from pathlib import Path
from typing import ClassVar

from datamodules.base import Split
from datamodules.captions import coco_json
from datamodules.captions.caption_data import CaptionData, Listed
from datamodules.setting_roles import Role
from datamodules.split_names import split_named
from datamodules.text_files import Row, header_word, read_lines, read_rows, read_text
from modules.contracts import DataError

COLUMNS = {
    "image": ("image", "imagename", "filename", "file", "filepath", "path", "imagepath", "img"),
    "caption": ("caption", "comment", "text", "sentence", "raw", "description"),
    "split": ("split", "subset", "set"),
}
"""Headers, besides capitals and signs."""


class CaptionTable(CaptionData):
    """A CSV file with columns `image` and `caption`, a row for each caption.

    A column `split` says train, val or test; without it, all are for training. Between columns are commas, semicolons,
    tabs or bars; `image` may be called filename, file, path or image_name, `caption` comment, text or sentence.

    Args:
        root: the file.
        images: the folder of the images; null for that of the file.

    Raises:
        DataError: columns or fields that are missing, a split that is none, images that are missing or broken.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location", "images": "location"}

    def __init__(self, root: str, images: str | None = None, **kwargs):
        super().__init__(**kwargs)
        self.root = Path(root).expanduser()
        self.images = Path(images).expanduser() if images else self.root.parent

    def listed(self) -> tuple[Path, dict[Split, Listed]]:
        header, *rows = [*read_rows(self.root)] or [Row(1, [])]
        cells = [header_word(cell) for cell in header.cells]
        columns = {part: next((cells.index(n) for n in names if n in cells), None) for part, names in COLUMNS.items()}
        if columns["image"] is None or columns["caption"] is None:
            raise DataError(f"{self.root} has columns {', '.join(header.cells)}: it needs image and caption")
        found: dict[Split, Listed] = {"train": {}, "val": {}, "test": {}}
        for line, row in rows:
            if len(row) != len(cells):
                raise DataError(
                    f'{self.root} line {line:,} has another number of fields than its header: quote it "..."'
                )
            self._add(found, {part: row[place] for part, place in columns.items() if place is not None}, line)
        return self.images, found

    def _add(self, found: dict[Split, Listed], row: dict[str, str], line: int) -> None:
        said = row.get("split") or "train"
        split = split_named(said)
        if split is None:
            raise DataError(f"{self.root} line {line:,} has the split {said!r}: it is train, val or test")
        found[split].setdefault(row["image"], []).append(row["caption"])


class Flickr8k(CaptionData):
    """Flickr8k (Hodosh et al. 2013): five captions an image, the splits of its authors.

    `Flickr8k.token.txt`, `Flickr_8k.trainImages.txt`, `devImages`, `testImages`, and `Images` or `Flicker8k_Dataset`.

    Args:
        root: the folder.

    Raises:
        DataError: files that are missing, a line without a tab, images that are missing or broken.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location"}

    def __init__(self, root: str, **kwargs):
        super().__init__(**kwargs)
        self.root = Path(root).expanduser()

    def listed(self) -> tuple[Path, dict[Split, Listed]]:
        path, captions = self.root / "Flickr8k.token.txt", {}
        for number, line in enumerate(read_text(path).split("\n"), 1):
            name, tab, caption = line.partition("\t")
            if not tab and line.strip():
                raise DataError(f"{path} line {number:,} has no tab between image#number and caption")
            captions.setdefault(name.rpartition("#")[0], []).append(caption)
        parts: dict[Split, str] = {"train": "train", "val": "dev", "test": "test"}
        lists = {split: read_lines(self.root / f"Flickr_8k.{part}Images.txt") for split, part in parts.items()}
        folders = [self.root / name for name in ("Images", "Flicker8k_Dataset")]
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if folder is None:
            raise DataError(f"{self.root} has neither Images nor Flicker8k_Dataset: one of them holds the images")
        return folder, {split: {name: captions.get(name, []) for name in part} for split, part in lists.items()}


class COCOCaptions(CaptionData):
    """COCO captions in COCO's own JSON or in Karpathy's.

    Flickr8k and Flickr30k come in the latter, that of Karpathy and Fei-Fei (2015) with their splits, too.

    COCO's own are `root/annotations/captions_train2017.json` and the like, read where `file` is not there.

    Args:
        root: the folder of the images, or for COCO of `train2014` and `val2014`.
        file: a JSON file of either kind, below `root` or anywhere.

    Raises:
        DataError: the file is missing or of another format, images that are missing or broken.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location", "file": "samples"}

    def __init__(self, root: str, file: str = "dataset_coco.json", **kwargs):
        super().__init__(**kwargs)
        self.root, self.file = Path(root).expanduser(), file

    def listed(self) -> tuple[Path, dict[Split, Listed]]:
        return self.root, coco_json.read(self.root, coco_json.find(self.root, self.file))
