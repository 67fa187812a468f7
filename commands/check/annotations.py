"""Sections of annotations: boxes of objects, and masks of semantic segmentation."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from callbacks.figures.class_counts import class_counts
from commands.check.drawing import histogram
from commands.check.findings import splits_of
from commands.check.keypoints import check_keypoints
from commands.page import Figure, Section, Table
from datamodules.base import Split
from datamodules.detection.box_statistics import places, tally
from datamodules.detection.object_data import ObjectDataModule
from datamodules.detection.objects import ObjectFiles
from datamodules.pairs import Legend, Pairs
from datamodules.segmentation.mask_data import MaskDataModule
from datamodules.segmentation.mask_statistics import Row
from datamodules.segmentation.mask_statistics import class_counts as class_pixels
from modules.contracts import counted

TINY = 4  # pixels of a box's shorter side, as the network sees it
RARE = 0.001  # share of the labeled pixels


def check_objects(data: ObjectDataModule) -> Section:
    """Boxes and classes of objects: those left out, tiny or drawn twice, and images without any."""
    section, classes = Section("Objects"), data.classes
    found = {split: tally(source, rows, len(classes)) for split, (source, rows) in splits_of(data).items()}
    numbers = {
        s: (len(splits_of(data)[s][1]), part.objects.sum(), part.crowds, len(part.empty)) for s, part in found.items()
    }
    rows = [(split, *(f"{number:,}" for number in row)) for split, row in numbers.items()]
    section.tables.append(Table(("split", "images", "objects", "crowds", "without objects"), rows))
    _class_table(section, classes, {split: part.objects for split, part in found.items()}, "objects")
    sizes = {split: _sizes(data, split) for split in splits_of(data)}
    if sizes := {split: part for split, part in sizes.items() if len(part)}:
        title = "size of objects as the network sees them, root of the box's area"
        middle = "; ".join(f"{split}: median {np.median(part):.0f}" for split, part in sizes.items())
        section.figures.append(Figure(histogram(sizes, title, "pixels"), f"{title}, in pixels; {middle}"))
    if data.dropped:
        reasons = Counter(_reason(line) for line in data.dropped)
        why = ", ".join(f"{reason}: {count:,}" for reason, count in reasons.most_common())
        section.note(f"{counted(len(data.dropped), 'annotations')} left out ({why})", data.dropped)
    for text, names in (
        (f"with a side below {TINY} pixels as the network sees it", [*_tiny(data)]),
        ("drawn twice in one image", [*_repeated(data)]),
    ):
        if names:
            section.note(f"{counted(len(names), 'boxes')} {text}", names)
    if data.layout:
        check_keypoints(section, data, data.layout)
    if empty := [splits_of(data)[split][0].id(i) for split, part in found.items() for i in part.empty]:
        section.note(f"{counted(len(empty), 'images')} without any object", empty)
    return section


def check_masks(data: MaskDataModule) -> Section:
    """Values and classes of semantic maps: unknown values, other sizes, classes that are rare or never shown."""
    section, pixels, images, lonely, void = Section("Masks"), {}, {}, [], []
    for split, (source, rows) in splits_of(data).items():
        statistics = data.statistics(source)
        strange = {
            f"{_map(source, i)} ({', '.join(f'{n:,} pixels of {v}' for v, n in odd)})"
            for i in rows
            if (odd := _unknown(source.legend, statistics[i]))
        }
        if strange:
            known = ", ".join(map(str, sorted(source.legend.values)[:12]))
            section.wrong(
                f"{counted(len(strange), 'masks')} of {split} with values that are no class; classes are {known}",
                sorted(strange),
            )
        sizes = [_map(source, i) for i in rows if statistics[i].shape != statistics[i].image]
        if sizes:
            section.wrong(f"{counted(len(sizes), 'masks')} of {split} of another size than the image", sizes)
        counts = class_pixels(source, statistics, rows)
        pixels[split], images[split] = counts.sum(0), (counts[:, :-1] > 0).sum(0)
        shown = (counts[:, :-1] > 0).sum(1)
        void += [source.id(i) for i in rows[shown == 0]]
        lonely += [source.id(i) for i in rows[shown == 1]]
    _pixel_tables(section, data.classes, pixels, images)
    if void:
        section.note(f"{counted(len(void), 'images')} whose masks are all void: nothing is learned from them", void)
    if lonely and len(data.classes) > 1:
        section.note(f"{counted(len(lonely), 'images')} whose masks show a single class", lonely)
    return section


def _pixel_tables(
    section: Section, classes: list[str], pixels: dict[str, np.ndarray], images: dict[str, np.ndarray]
) -> None:
    header, shares = ["class"], {}
    for split, counts in pixels.items():
        shares[split] = counts[:-1] / max(1, counts[:-1].sum())
        header += [split, "images"]
        section.lines.append(f"{split}: {100 * counts[-1] / max(1, counts.sum()):.1f} % of the pixels are void")
    rows = [
        [name, *(cell for s in pixels for cell in (f"{100 * shares[s][i]:.2f} %", f"{images[s][i]:,}"))]
        for i, name in enumerate(classes)
    ]
    section.tables.append(Table(header, rows))
    percents = {split: (100 * part).round(2) for split, part in shares.items()}
    words = "; ".join(f"{split}: {part.min():.2f} to {part.max():.2f}" for split, part in percents.items())
    title = "percent of labeled pixels"
    section.figures.append(Figure(class_counts(classes, percents, title), f"{title} of each class; {words}"))
    if "train" in images:
        absent = [name for name, count in zip(classes, images["train"], strict=True) if not count]
        if absent:
            section.note(f"{counted(len(absent), 'classes')} that no training mask shows: not learned", absent)
        rare = [n for n, s, c in zip(classes, shares["train"], images["train"], strict=True) if c and s < RARE]
        if rare:
            section.note(f"{counted(len(rare), 'classes')} of less than {100 * RARE:g} % of the training pixels", rare)


def _map(source: Pairs, index: int) -> str:
    """The file of a semantic map, from the folder of the data on."""
    path, root = source.maps.path(index), getattr(source.images, "root", Path())
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _unknown(legend: Legend, row: Row) -> list[tuple[int, int]]:
    return [(value, count) for value, count in zip(row.values, row.pixels, strict=True) if not legend.knows(value)]


def _class_table(section: Section, classes: list[str], counts: dict[str, np.ndarray], noun: str) -> None:
    rows = [[name, *(f"{part[i]:,}" for part in counts.values())] for i, name in enumerate(classes)]
    section.tables.append(Table(("class", *counts), rows))
    said = "; ".join(f"{split}: {part.min():,} to {part.max():,} of a class" for split, part in counts.items())
    section.figures.append(Figure(class_counts(classes, counts, noun), f"{noun} of each class; {said}"))
    for split, part in counts.items():
        lacking = [classes[i] for i in np.flatnonzero(part == 0)]
        if lacking:
            section.note(f"{split}: {counted(len(lacking), 'classes')} without {noun}", lacking)


def _scales(data: ObjectDataModule, source: ObjectFiles, images: np.ndarray) -> np.ndarray:
    """Factor from pixels of the file to those that the network sees, (N,)."""
    if not data.target_size:
        return np.ones(len(images))
    return (np.array(data.target_size) / source.shapes[images]).min(1)


def _sizes(data: ObjectDataModule, split: Split) -> np.ndarray:
    """Root of the area of each object's box in pixels that the network sees."""
    source, rows = splits_of(data)[split]
    images, chosen = places(source, rows)
    sides = source.boxes[chosen, 2:] - source.boxes[chosen, :2]
    return np.sqrt(sides.prod(1)) * _scales(data, source, images)


def _tiny(data: ObjectDataModule) -> Iterator[str]:
    for source, rows in splits_of(data).values():
        images, chosen = places(source, rows)
        sides = (source.boxes[chosen, 2:] - source.boxes[chosen, :2]).min(1) * _scales(data, source, images)
        for k in np.flatnonzero((sides < TINY) & ~source.crowd[chosen]):
            yield f"{source.id(images[k])} {_box(source, chosen[k])}"


def _repeated(data: ObjectDataModule) -> Iterator[str]:
    for source, rows in splits_of(data).values():
        images, chosen = places(source, rows)
        known: dict[tuple, int] = {}
        for image, k in zip(images.tolist(), chosen.tolist(), strict=True):
            mask = None if source.counts is None else source.counts[k]  # many segments reach from edge to edge
            first = known.setdefault((image, mask, *source.boxes[k].tolist()), k)
            if first != k:
                same = source.classes[first] == source.classes[k]
                names = [data.classes[source.classes[j]] for j in (first, k)]
                yield f"{source.id(image)} {_box(source, k)}" + ("" if same else f" as {' and '.join(names)}")


def _box(source: ObjectFiles, k: int) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in source.boxes[k]) + "]"


def _reason(line: str) -> str:
    """The reason at the end of a line of `dropped`: `FILE object[3]: box [1, 2, 3, 4] is reversed`."""
    return line.rpartition("] ")[2] if ": box [" in line else line.rpartition(": ")[2]
