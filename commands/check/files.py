"""Section of image files: sizes and aspect ratios, broken files, and odd ones that can be used."""

from collections import Counter
from typing import Any

import numpy as np

from commands.check.drawing import size_scatter
from commands.check.findings import Item, splits_of
from commands.page import Figure, Section, Table
from datamodules.finding import count_suffixes
from datamodules.image_files import ImageFilesData
from datamodules.inspection import Inspection
from datamodules.near_duplicates import FLAT
from datamodules.split_data import SplitData
from datamodules.text.text_data import TextData
from modules.contracts import counted

STRETCHED = 3.0  # ratio of the sides of an image that is odd
DARK, BRIGHT = 24, 232  # gray levels that all but one percent of an image's pixels are below, or above


def check_broken(data: SplitData) -> Section:
    """Name the samples that cannot be used, and files of kinds that are not read; `data.on_error` is skip if any."""
    section, broken = Section("Broken files"), broken_files(data)
    total = sum(len(rows) for _, rows in splits_of(data).values()) + len(broken)
    if broken:
        section.note(f"{len(broken):,} of {total:,} {data.noun} cannot be used", broken)
    if data.others:
        said = count_suffixes(data.others)
        section.note(f"files of kinds that are not read: {said}", [str(path) for path in data.others])
    if not section.findings:
        section.lines.append(f"all {total:,} {data.noun} can be used")
    return section


def broken_files(data: SplitData) -> list[str]:
    """A clause for each sample that cannot be used: its file and the fault."""
    sources = list({id(source): source for source, _ in splits_of(data).values()}.values())
    broken = [(source.id(i), clause) for source in sources for i, clause in data.broken(source).items()]
    said = {name for name, _ in broken} | {f"{path}: files of this kind are not read" for path in data.others}
    rest = [] if isinstance(data, TextData) else [line for line in data.skipped if line not in said]
    return [*(clause for _, clause in broken), *rest]


def check_sizes(data: ImageFilesData, items: list[Item], thumbnails: np.ndarray, failed: np.ndarray) -> Section:
    """Sizes, formats and oddities of image files.

    Args:
        data: set up.
        items: its samples that have a file.
        thumbnails: of the items, uint8 (N, H, W).
        failed: true for those that cannot be decoded, bool (N,).
    """
    section = Section("Image files")
    looked = [inspection(data, item) for item in items]
    shapes = np.array([found.shape for found in looked])
    splits = [split for split in splits_of(data) if any(item.split == split for item in items)]
    of = np.array([splits.index(item.split) for item in items])
    rows = [(split, *_sizes(shapes[of == k]), _formats(items, split)) for k, split in enumerate(splits)]
    section.tables.append(Table(("split", "width", "height", "width / height", "formats"), rows))
    words = "; ".join(f"{row[0]}: {row[1]} x {row[2]} pixels" for row in rows)
    if len(np.unique(shapes, axis=0)) > 1:
        chart = size_scatter({split: shapes[of == k] for k, split in enumerate(splits)})
        section.figures.append(Figure(chart, f"width and height of the images; {words}"))
    _odd_files(section, items, looked)
    _odd_sizes(section, data, items, shapes)
    _odd_pixels(section, [items[i] for i in np.flatnonzero(~failed)], thumbnails[~failed])
    return section


def inspection(data: ImageFilesData, item: Item) -> Inspection:
    """The inspection of a sample's file."""
    source, _ = splits_of(data)[item.split]
    files: Any = data.image_files(source)
    return data.looked[id(files.paths)][item.row]


def _sizes(shapes: np.ndarray) -> tuple[str, str, str]:
    height, width = shapes.T
    return _range(width), _range(height), _range(width / height, ".2f")


def _range(values: np.ndarray, form: str = ",.0f") -> str:
    low, high = (f"{value:{form}}" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _formats(items: list[Item], split: str) -> str:
    counts = Counter(item.path.suffix.lower() or "none" for item in items if item.split == split)
    return ", ".join(f"{count:,} {suffix}" for suffix, count in counts.most_common())


def _odd_files(section: Section, items: list[Item], looked: list[Inspection]) -> None:
    pairs = list(zip(items, looked, strict=True))
    if deep := [f"{item.name} ({found.depth})" for item, found in pairs if found.depth]:
        section.note(f"{counted(len(deep), 'images')} of more than 8 bits: one range of values is used for all", deep)
    if turned := [item.name for item, found in pairs if found.orientation > 1]:
        section.note(
            f"{counted(len(turned), 'images')} stored on their side or mirrored, and turned upright by their EXIF "
            f"orientation, which other programs may not do",
            turned,
        )
    if several := [item.name for item, found in pairs if found.several]:
        section.note(f"{counted(len(several), 'files')} of several frames, of which the first is seen", several)


def _odd_sizes(section: Section, data: ImageFilesData, items: list[Item], shapes: np.ndarray) -> None:
    ratios = shapes.max(1) / shapes.min(1)
    if odd := [f"{items[i].name} ({shapes[i][1]} x {shapes[i][0]})" for i in np.flatnonzero(ratios > STRETCHED)]:
        section.note(f"{counted(len(odd), 'images')} more than {STRETCHED:g} times as long as wide", odd)
    side = getattr(data, "image_size", None)
    if isinstance(side, int) and (small := np.flatnonzero(shapes.min(1) < side)).size:
        names = [f"{items[i].name} ({shapes[i][1]} x {shapes[i][0]})" for i in small]
        many = "all images" if len(names) == len(items) else counted(len(names), "images")
        section.note(f"{many} smaller than data.image_size {side}, so they are enlarged", names)


def _odd_pixels(section: Section, items: list[Item], thumbnails: np.ndarray) -> None:
    low, high = np.percentile(thumbnails.reshape(len(thumbnails), -1), [1, 99], axis=1)
    flat = thumbnails.std((1, 2)) < FLAT
    for what, found in (
        ("of one color", flat),
        ("almost black", (high <= DARK) & ~flat),
        ("almost white", (low >= BRIGHT) & ~flat),
    ):
        if found.any():
            names = [items[i].name for i in np.flatnonzero(found)]
            section.note(f"{counted(len(names), 'images')} {what}, which may say nothing", names)
