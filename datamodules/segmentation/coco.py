"""COCO instances, stuff and panoptic annotations as semantic maps."""

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from datamodules import coco_fields as fields
from datamodules.base import Split
from datamodules.file_names import posix, spelled
from datamodules.pairs import Legend, Pairs
from datamodules.segmentation.coco_maps import Outlines, Segments, records
from datamodules.segmentation.files import encoded
from datamodules.segmentation.mask_data import MaskDataModule
from datamodules.segmentation.pair_files import check_files
from datamodules.setting_roles import Role
from datamodules.source import Files
from modules.contracts import IGNORE, DataError, regular

Content = dict[str, list[dict[str, Any]]]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class COCOSemantic(MaskDataModule):
    """COCO (Lin et al. 2014), or data in its formats, as semantic maps: every pixel gets the class of what covers it.

    `root/annotations/KIND_train*.json`, so too `val` and `test`; images in `root/images`, `root/train2017` or the
    like. Classes are the json's categories in order of their ids. Crowds are void.

    Args:
        root: the folder.
        kind: `instances`: objects, small ones above large ones, on a first class `background`; `stuff`: the same
            without background, what nothing covers is void; `panoptic`: the PNGs in `annotations/panoptic_train*/`.

    Raises:
        DataError: nothing of this layout there, a json that is none of COCO's, or files that are missing.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location", "kind": "input"}

    def __init__(self, root: str, kind: Literal["instances", "stuff", "panoptic"] = "instances", **kwargs):
        super().__init__(**kwargs)
        self.root, self.kind = Path(root).expanduser(), kind
        self.files = self._files()
        self.contents: dict[Split, Content] = {split: _read(file) for split, file in self.files.items()}
        first = next(iter(self.files))
        self.categories = _categories(self.contents[first])
        for split, content in self.contents.items():
            if _categories(content) != self.categories:
                raise DataError(f"{self.files[split]} has other categories than {self.files[first]}: use one set")
        self.numbers = {key: i + (kind == "instances") for i, key in enumerate(self.categories)}
        self.classes = ["background"] * (kind == "instances") + list(self.categories.values())

    def file_values(self, values: tuple[int, ...]) -> list[int]:
        """The category ids, and 0 for background, unless a category has that id."""
        ids = list(self.categories)
        if self.kind != "instances":
            return ids
        return [0, *ids] if 0 not in ids else list(values)

    def sources(self) -> dict[Split, Pairs]:
        legend = Legend(tuple(range(len(self.classes))))
        found = {split: self._pairs(split, legend) for split in self.files}
        self.contents = {}  # packed by now
        return found

    def _files(self) -> dict[Split, Path]:
        folder = self.root / "annotations"
        found = {split: sorted(folder.glob(f"{self.kind}_{split}*.json")) for split in SPLITS}
        for files in found.values():
            if len(files) > 1:
                raise DataError(f"{folder} has {files[0].name} and {files[1].name}: leave one of them")
        if not any(found.values()):
            raise DataError(f"{folder} has no {self.kind}_train*.json, {self.kind}_val*.json or {self.kind}_test*.json")
        return {split: files[0] for split, files in found.items() if files}

    def _pairs(self, split: Split, legend: Legend) -> Pairs:
        file, content = self.files[split], self.contents[split]
        images = sorted(content["images"], key=lambda image: image["file_name"])
        if not images:
            raise DataError(f"{file} lists no images")
        folder = self._folder(file, images[0]["file_name"])
        names = [image["file_name"] for image in images]
        paths = [spelled(folder, posix(name)) or folder / name for name in names]
        check_files(paths, file)
        of = self._annotations(file, content, images)
        made = self._segments(file, images, of) if self.kind == "panoptic" else self._outlines(file, images, of)
        return Pairs(Files(self.root, encoded(self.root, paths), None), made, legend)

    def _folder(self, file: Path, name: str) -> Path:
        """The folder of a json's images: `train2017` for instances_train2017.json."""
        part = file.stem.removeprefix(f"{self.kind}_")
        split = next(split for split in SPLITS if part.startswith(split))
        places = [self.root / place for place in (f"images/{part}", part, f"images/{split}", split, "images", ".")]
        found = next((folder for folder in places if spelled(folder, posix(name))), None)
        if found is None:
            raise DataError(f"{name}, which {file} lists first, is in none of {', '.join(map(str, places))}")
        return found

    def _annotations(self, file: Path, content: Content, images: list[dict[str, Any]]) -> dict[int, list[dict]]:
        """Annotations by image id, all of known images and categories."""
        found = {image["id"]: [] for image in images}
        for annotation in content["annotations"]:
            if annotation["image_id"] not in found:
                raise DataError(f"{file} has an annotation of image {annotation['image_id']}, which it does not list")
            for part in annotation.get("segments_info", [annotation]):
                if part["category_id"] not in self.numbers:
                    where = f"image {annotation['image_id']}"
                    raise DataError(f"{file} has category {part['category_id']} in {where}, which it does not name")
            found[annotation["image_id"]].append(annotation)
        return found

    def _outlines(self, file: Path, images: list[dict[str, Any]], of: dict[int, list[dict]]) -> Outlines:
        def objects(key: int) -> list[tuple]:
            return [(self.numbers[a["category_id"]], a["iscrowd"], a["segmentation"]) for a in of[key]]

        packed = records((p["file_name"], p["height"], p["width"], objects(p["id"])) for p in images)
        return Outlines(file, packed, 0 if self.kind == "instances" else IGNORE)

    def _segments(self, file: Path, images: list[dict[str, Any]], of: dict[int, list[dict]]) -> Segments:
        folder, rows = file.with_suffix(""), []
        for image in images:
            if len(of[image["id"]]) != 1:
                raise DataError(f"{file} has {len(of[image['id']])} annotations of {image['file_name']}, not one")
            annotation = of[image["id"]][0]
            known = sorted(
                (s["id"], IGNORE if s["iscrowd"] else self.numbers[s["category_id"]])
                for s in annotation["segments_info"]
            )
            rows.append((annotation["file_name"], [n for n, _ in known], [c for _, c in known]))
        check_files((folder / name for name, _, _ in rows), file)
        return Segments(file, folder, records(rows))


def _read(file: Path) -> Content:
    try:
        content = json.loads(regular(file).read_bytes(), object_hook=_as_numbers)
        return {part: content[part] for part in ("images", "annotations", "categories")}
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} is no json that can be read: {error}") from error
    except (KeyError, TypeError) as error:
        raise DataError(f"{file} is none of COCO's: it has no list {error}") from error


def _as_numbers(entry: dict[str, Any]) -> dict[str, Any]:
    """An image, annotation, segment or category whose numbers may be written as text."""
    numbers = {k: fields.integer(entry[k]) for k in ("id", "image_id", "category_id", "height", "width") if k in entry}
    if "category_id" in entry:
        numbers["iscrowd"] = fields.flag(entry.get("iscrowd"))
    if "segmentation" in entry:
        numbers["segmentation"] = fields.outline(entry["segmentation"])
    return entry | numbers


def _categories(content: Content) -> dict[int, str]:
    """Names by id, ascending."""
    return {category["id"]: category["name"] for category in sorted(content["categories"], key=lambda c: c["id"])}
