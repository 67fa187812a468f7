"""`check --fix OUT`: a cleaned copy of a data set, of links and of lists without what is left out."""

import csv
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from jsonargparse import Namespace

from commands.check.build import build
from commands.check.findings import Item, all_items, splits_of
from commands.check.lists import Lists
from commands.check.sections import Checked
from commands.page import Section
from datamodules import DataModule
from datamodules.detection.object_data import ObjectDataModule
from datamodules.detection.objects import ObjectFiles
from datamodules.finding import find_images, walk
from datamodules.inspection import inspect_all
from datamodules.pairs import Pairs
from datamodules.segmentation.files import MaskFiles
from datamodules.setting_roles import roles_of
from datamodules.split_data import SplitData
from datamodules.split_names import split_named
from modules.contracts import DataError, counted

TABLE = "left_out.csv"
BESIDE = {".txt", ".xml", ".png"}  # annotations of one image each


class LeftOut(NamedTuple):
    """A file that the copy leaves out of a split, with the reason, and the file that it equals; empty if none."""

    path: Path
    split: str
    reason: str
    same_as: str = ""


class Unsound(Exception):
    """A sentence that says why no cleaned copy can be made."""


def fix(data: DataModule, checked: Checked, settings: Namespace, out: Path) -> Section:
    """Write the copy, read it once more as `fit` does, and say what it lacks.

    Args:
        data: set up.
        checked: what was found.
        settings: as typed, of the data.
        out: the folder of the copy.
    """
    section, place = Section("Cleaned copy"), settings.data.init_args.get("root")
    try:
        base = _base(data, place)
        assert isinstance(data, SplitData)
        moved = _moved(settings, base, out)
        found = [*_broken(data, checked.damaged), *_repeated(data, checked.groups)]
        _write(data, base, out, found)
        _read_again(data, found, moved)
    except (Unsound, DataError) as error:
        shutil.rmtree(out, ignore_errors=True)
        section.note(f"no cleaned copy is written: {error}; duplicates.csv lists what occurs twice")
        return section
    except OSError as error:
        shutil.rmtree(out, ignore_errors=True)
        section.wrong(f"no cleaned copy is written: cannot write --fix {out}: {error.strerror or error}: name another")
        return section
    lacking = f"the data without {counted(len(found), 'files')}, which {TABLE} there lists with the reasons"
    section.lines.append(
        f"{out} holds {lacking if found else 'all files, because nothing had to be left out'}: train on it with "
        f"--data.root {moved.data.init_args.root}"
    )
    return section


def _base(data: DataModule, place: str | None) -> Path:
    """The folder that holds all of the data.

    Raises:
        Unsound: there is none, or samples are no files below it.
    """
    name = type(data).__name__
    if not place or not isinstance(data, SplitData):
        raise Unsound(f"{name} has no folder that could be copied")
    root = Path(place).expanduser()
    base = root if root.is_dir() else root.parent
    paths = [item.path for item in all_items(data)]
    if None in paths:
        raise Unsound(f"the samples of {name} are no files of their own")
    if outside := [path for path in paths if not path.is_relative_to(base)]:
        raise Unsound(f"{outside[0]} lies outside of {base}")
    return base


def _moved(settings: Namespace, base: Path, out: Path) -> Namespace:
    """The settings with every location in the copy."""
    moved = settings.clone()
    module, _, name = settings.data.class_path.rpartition(".")
    for key, role in roles_of(getattr(import_module(module), name)).items():
        value = moved.data.init_args.get(key)
        if role == "location" and isinstance(value, str):
            path = Path(value).expanduser()
            if not path.is_relative_to(base):
                raise Unsound(f"data.{key} {value} lies outside of {base}")
            moved.data.init_args[key] = str(out / path.relative_to(base))
    return moved


def _broken(data: SplitData, damaged: list[Item]) -> Iterator[LeftOut]:
    """Samples that cannot be used, each with the reason."""
    for item in damaged:
        yield LeftOut(item.path, _folder_of(data, item), f"{item.path} cannot be decoded")
    for split, (source, _) in splits_of(data).items():
        if split == "val" and _drawn(data):
            continue
        files: Any = source.images if isinstance(source, Pairs) else getattr(source, "files", source)
        for i, clause in data.broken(source).items():
            yield LeftOut(files.path(i), split, clause)
    if isinstance(data, ObjectDataModule):  # its readers have left them out
        images = find_images(Path(data.hparams["root"]).expanduser())
        for path, found in zip(images, inspect_all(images), strict=True):
            if found.problem:
                yield LeftOut(path, "", f"{path} {found.problem}")


def _drawn(data: SplitData) -> bool:
    """True if val is a share of train."""
    sources = {split: source for split, (source, _) in splits_of(data).items()}
    return "val" in sources and sources["val"] is sources.get("train")


def _folder_of(data: SplitData, item: Item) -> str:
    """The split that a sample is stored in: train for a share of it that is set aside for val."""
    return "train" if item.split == "val" and _drawn(data) else item.split


def _repeated(data: SplitData, groups: list[list[Item]]) -> Iterator[LeftOut]:
    """Samples for training that occur in val or test, or twice; val's that occur in test."""
    trained = {"train", "val"} if _drawn(data) else {"train"}
    for group in groups:
        labels = {item.label for item in group} - {None}
        classes = [name for i, name in enumerate(data.classes or []) if i in labels]
        if len(classes) > 1:
            why = f"the same content in classes {', '.join(classes)}"
            spare = [item for item in group if item.split in trained]
        else:
            judged = {item.split for item in group} - trained
            spare = [i for i in group[1:] if i.split in trained or (i.split == "val" and "test" in judged)]
            why = ""
        for item in spare:
            first = group[0] if group[0] is not item else group[1]
            same = "occurs twice" if first.split in trained else f"occurs in {first.split}"
            yield LeftOut(item.path, _folder_of(data, item), why or same, first.name)


def _write(data: SplitData, base: Path, out: Path, found: list[LeftOut]) -> None:
    """Link what is kept, write shorter lists, and the table of what is left out."""
    dropped = {(row.path, row.split) for row in found}
    kept = {item.path for item in all_items(data) if (item.path, _folder_of(data, item)) not in dropped}
    gone = {row.path for row in found} - kept
    beside = _companions(data, base, gone)
    lists = Lists(base, [(row.path, row.split) for row in found], gone)
    out.mkdir(parents=True, exist_ok=True)
    for path in walk(base):
        if path in beside or any(place in gone for place in (path, *path.parents)):
            continue
        target = out / path.relative_to(base)
        target.parent.mkdir(parents=True, exist_ok=True)
        shorter = lists.shortened(path)
        if shorter is None:
            _link(path, target)
        else:
            target.write_bytes(shorter)
    with (out / TABLE).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file)
        table.writerow(["file", "split", "reason", "same_as"])
        table.writerows((row.path.relative_to(base), row.split, row.reason, row.same_as) for row in found)


def _companions(data: SplitData, base: Path, gone: set[Path]) -> set[Path]:
    """Files with the annotations of images that are gone: masks, YOLO's txt, Pascal VOC's xml, id-PNGs."""
    found = set()
    for source, _ in splits_of(data).values():
        if isinstance(source, Pairs) and isinstance(source.maps, MaskFiles):
            images: Any = source.images
            found |= {source.maps.path(i) for i in range(len(source)) if images.path(i) in gone}
    if not isinstance(data, ObjectDataModule):
        return found
    by_stem: dict[str, list[Path]] = {}
    for path in gone:
        by_stem.setdefault(path.stem, []).append(path.relative_to(base).parent)
    samples = {item.path for item in all_items(data)}
    for path in walk(base):
        places = by_stem.get(path.stem.removesuffix("_mask"), []) if path.suffix.lower() in BESIDE else []
        if path not in samples and any(_beside(path.relative_to(base).parent, place) for place in places):
            found.add(path)
    return found


def _beside(one: Path, two: Path) -> bool:
    """True for folders that differ in one name at most, as images/train and labels/train, which is no split's."""
    if len(one.parts) != len(two.parts):
        return False
    other = [pair for pair in zip(one.parts, two.parts, strict=True) if pair[0] != pair[1]]
    return len(other) <= 1 and not any(split_named(name) for pair in other for name in pair)


def _link(path: Path, target: Path) -> None:
    try:
        target.symlink_to(path.resolve())
    except OSError:  # a file system without links
        shutil.copy2(path, target)


def _read_again(data: SplitData, found: list[LeftOut], moved: Namespace) -> None:
    """Check that the copy holds the samples that it should.

    Raises:
        Unsound: it does not.
        DataError: `fit` refuses it.
    """
    copy: Any = build(moved)
    copy.setup("fit")
    if "train" in splits_of(data) and "train" not in splits_of(copy):
        raise Unsound("nothing would be left to train on")
    dropped = {(row.path, row.split) for row in found}

    def samples(module: SplitData, without: set) -> set[tuple]:
        items = ((item, _folder_of(module, item)) for item in all_items(module))
        kept = ((item, split) for item, split in items if (item.path, split) not in without)
        return {(split, item.name, item.label, _annotations(module, item)) for item, split in kept}

    odd = samples(data, dropped) ^ samples(copy, set())
    if odd or copy.classes != data.classes:
        example = f", as {sorted(map(str, odd))[0]} shows" if odd else ""
        raise Unsound(f"this layout does not allow to leave files out{example}")


def _annotations(data: SplitData, item: Item) -> int:
    """Number of objects, or of captions, of a sample."""
    source, _ = splits_of(data)[item.split]
    if isinstance(source, ObjectFiles):
        return len(source.objects(item.row))
    captions = getattr(source, "captions", None)
    return len(captions[item.row]) if captions else 0
