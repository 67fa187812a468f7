"""Pascal VOC xml reader: one file per image (Everingham et al. 2010)."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Literal

from datamodules.base import Split
from datamodules.detection.formats.images import OnError, Places
from datamodules.detection.formats.merge import merge, split_of
from datamodules.detection.formats.names import Names
from datamodules.detection.formats.raw import Image, Object, Raw, number
from datamodules.detection.objects import Annotations
from datamodules.file_names import spelled
from datamodules.finding import SUFFIXES
from datamodules.text_files import read_lines
from modules.contracts import DataError, regular

Difficult = Literal["ignore", "keep"]
NEEDS = "Annotations/*.xml with JPEGImages/ and perhaps ImageSets/Main/train.txt, or xml files beside the images"
EDGES = ("xmin", "ymin", "xmax", "ymax")
Xmls = dict[str, Path]
"""The files of a split by the images' names without suffix; some may not be there."""


def find(root: Path) -> dict[Split, Xmls]:
    """Find the xml files of each split: listed in `ImageSets/Main/train.txt`, or by folder, `train/*.xml`.

    Else all of `Annotations`, or of the root, are training's.
    """
    folder = root / "Annotations" if (root / "Annotations").is_dir() else root
    listed = _listed(root, folder)
    if listed:
        return listed
    found: dict[Split, Xmls] = {}
    for file in sorted(file for pattern in ("*.xml", "*/*.xml", "*/*/*.xml") for file in root.glob(pattern)):
        if _is_annotation(file, root):
            files = found.setdefault(split_of(file.parent, root) or "train", {})
            files[str(file.relative_to(root).with_suffix(""))] = file
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def read_voc(
    root: Path,
    masks: bool = False,
    on_error: OnError = "raise",
    difficult: Difficult = "ignore",
    classes: list[str] | None = None,
) -> Annotations:
    """Images and objects of Pascal VOC's xml files.

    Boxes of files that name a VOC database count pixels from 1 and include the last one, and are moved accordingly;
    other tools write edges counted from 0, which stay. Objects marked difficult become crowds: as in the challenge,
    finding them is neither right nor wrong.

    Args:
        masks: VOC's xml has none.
        difficult: `keep` counts them like any other object.
        classes: in the order of their indices; null takes all names found, sorted.

    Raises:
        DataError: no xml, one that cannot be read, a class not in `classes`, or as `merge`.
    """
    if masks:
        raise DataError(f"{root} has Pascal VOC's xml, which has boxes only: outlines are in COCO json or id-PNGs")
    found = find(root)
    if not found:
        raise DataError(f"{root} has no Pascal VOC: that is {NEEDS}")
    secret = "train" in found and "test" in found and not any(file.is_file() for file in found["test"].values())
    if secret:
        del found["test"]
    names = Names(classes)
    raws = {split: _raw(root, split, files, names, difficult) for split, files in found.items()}
    result = merge(root, raws, *names.sort(raws), masks, on_error)
    result.notes[:0] = ["no test set: none of the images that are listed for it has an xml"] * secret
    return result


def _listed(root: Path, folder: Path) -> dict[Split, Xmls]:
    found: dict[Split, Xmls] = {}
    for split, names in (("train", ("train", "trainval")), ("val", ("val",)), ("test", ("test",))):
        lists = (root / "ImageSets" / "Main" / f"{name}.txt" for name in names)
        if file := next((file for file in lists if file.is_file()), None):
            xmls = [_listed_xml(line, folder) for line in read_lines(file)]
            found[split] = {str(xml.relative_to(folder).with_suffix("")): xml for xml in xmls}
    return found


def _listed_xml(line: str, folder: Path) -> Path:
    """The xml of a line: a name, which may hold blanks, or a name and 1, 0 or -1, as VOC's lists of one class have."""
    name = re.fullmatch(r"(.*\S)\s+-?[01]", line)
    names = dict.fromkeys(
        (line, name[1] if name else line, Path(line).stem if line.lower().endswith(tuple(SUFFIXES)) else line)
    )
    found = (xml for name in names if (xml := spelled(folder, f"{name}.xml")))
    return next(found, folder / f"{list(names)[-1]}.xml")


def _is_annotation(file: Path, root: Path) -> bool:
    if any(part.startswith(".") for part in file.relative_to(root).parts):
        return False
    try:
        with regular(file).open("rb") as opened:
            return re.search(rb"<annotation[\s>]", opened.read(1024)) is not None
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error


def _raw(root: Path, split: Split, files: Xmls, names: Names, difficult: Difficult) -> Raw:
    folders = [*{file.parent: None for file in files.values()}]
    raw, places = Raw(str(folders[0]), "object[{}]"), Places(_places(root, split, folders))
    for row, (stem, file) in enumerate(files.items()):
        if not file.is_file():
            raw.images.append(Image(stem, places.find(stem), str(file), flaw=f"has no {file}"))
            continue
        tree = _parse(file)
        said = (tree.findtext("filename") or "").strip()
        order = (said, file.stem) if places.is_ambiguous(file.stem) else (file.stem, said)
        path = places.find(order[0]) or places.find(order[1])
        raw.images.append(Image(f"the image of {file}", path, str(file), _shape(tree)))
        first = 1 if _counts_from_one(tree) else 0
        for index, node in enumerate(tree.findall("object")):
            raw.objects.append(_object(row, index, node, first, names, difficult, file))
    return raw


def _places(root: Path, split: Split, folders: list[Path]) -> list[Path]:
    """Candidate folders of the images of xml files: beside them, or a folder of their own."""
    beside = [place for folder in folders for place in (folder, folder.parent / "JPEGImages", folder.parent / "images")]
    return [*beside, root / "JPEGImages", root / "images" / split, root / "images", root]


def _parse(file: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise DataError(f"{file} is no xml that can be read ({error}): write it again") from error


def _shape(tree: ElementTree.Element) -> tuple[int, int] | None:
    sides = [(tree.findtext(f"size/{side}") or "").strip() for side in ("height", "width")]
    if not all(re.fullmatch("[0-9]+", side) and int(side) for side in sides):
        return None  # some tools write 0
    return int(sides[0]), int(sides[1])


def _counts_from_one(tree: ElementTree.Element) -> bool:
    said = f"{tree.findtext('source/database')} {tree.findtext('source/annotation')}"
    return re.search(r"\bVOC ?20\d\d\b|\bPASCAL VOC", said) is not None


def _object(
    row: int, index: int, node: ElementTree.Element, first: int, names: Names, difficult: Difficult, file: Path
) -> Object:
    box = [number(node.findtext(f"bndbox/{edge}")) for edge in EDGES]
    name = (node.findtext("name") or "").strip()
    if not name:
        return Object(row, index, box, 0, flaw="it has no name")
    label = names.label(name, f"{file} object[{index}]")
    box = [value - first if i < 2 and isinstance(value, float) else value for i, value in enumerate(box)]
    crowd = difficult == "ignore" and (node.findtext("difficult") or "").strip() in ("1", "true", "True")
    return Object(row, index, box, label, crowd)
