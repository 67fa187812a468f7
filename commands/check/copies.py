"""Section of duplicates and leaks: samples of equal content, and such that look or read alike."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from commands.check.drawing import caption, pairs_figure, shown
from commands.check.findings import Item, splits_of
from commands.check.near import Copy
from commands.page import Figure, Section
from datamodules.duplicates import identical
from datamodules.split_data import SplitData
from datamodules.text.bitext import Bitext
from datamodules.text.text_data import TextData
from datamodules.video.source import middle_frame
from datamodules.video.video_data import VideoDataModule
from modules.contracts import counted

DRAWN = 12  # pairs of a figure
COMMON = 0.01  # share of a split's sentences that may occur in training: short ones recur


def equal_groups(data: SplitData, items: Sequence[Item]) -> list[list[Item]]:
    """Groups of samples of equal content: bytes of files, else pixels, else text."""
    if items and items[0].path is not None:
        numbers = {path: number for split in splits_of(data) for path, number in data.files_of(split)}
        return [[items[i] for i in group] for group in identical([(i.path, numbers[i.path]) for i in items])]
    found: dict[object, list[Item]] = defaultdict(list)
    for item in items:
        found[_content(splits_of(data)[item.split][0], item.row)].append(item)
    return [group for group in found.values() if len(group) > 1]


def _content(source, row: int) -> object:
    if isinstance(source, Bitext):
        return tuple(texts[row] for _, texts in source.sides())
    image = source.image(row)
    return image.shape, hashlib.sha256(image.tobytes()).digest()


def copies_of(groups: Iterable[list[Item]]) -> list[Copy]:
    """Each further sample of a group with the first."""
    return [Copy(group[0], item, 1.0, "identical") for group in groups for item in group[1:]]


def check_copies(data: SplitData, groups: list[list[Item]], near: list[Copy]) -> Section:
    """Leaks between splits, duplicates within them, equal images of two classes, and samples that are alike."""
    section, noun = Section("Duplicates and leaks"), data.noun
    _leaks(section, data, groups)
    _within(section, data, groups)
    names = data.classes or []
    conflicts = [
        " = ".join(f"{item.name} ({names[item.label]})" for item in group)
        for group in groups
        if len({item.label for item in group}) > 1
    ]
    if conflicts:
        section.wrong(f"equal {noun} in two classes, so one of their labels is wrong: {len(conflicts):,}", conflicts)
    _near(section, data, near)
    if not section.findings:
        section.lines.append(f"no {noun} occur twice")
    copies = copies_of(groups)
    across = [copy for copy in copies if copy.first.split != copy.second.split]
    alike = sorted(near, key=lambda copy: copy.first.split == copy.second.split)
    for pairs, title in ((across or copies, f"identical {noun}"), (alike, f"{noun} that look alike")):
        _draw(section, data, pairs, title)
    return section


def _leaks(section: Section, data: SplitData, groups: list[list[Item]]) -> None:
    for a, b in (("train", "test"), ("val", "test"), ("train", "val")):
        pairs, leaked = [], 0
        for group in groups:
            ours, theirs = ([item for item in group if item.split == split] for split in (a, b))
            if ours and theirs:
                leaked += len(theirs)
                pairs += [f"{item.name} = {ours[0].name}" for item in theirs]
        if not pairs:
            continue
        total = len(splits_of(data)[b][1])
        text = f"leak: {leaked:,} of the {total:,} {data.noun} of {b} are in {a} too"
        if isinstance(splits_of(data)[b][0], Bitext) and leaked <= COMMON * total:
            section.note(f"{text}, which short sentences may be", pairs)
        else:
            section.wrong(f"{text}, so metrics on {b} are better than they should be", pairs)


def _within(section: Section, data: SplitData, groups: list[list[Item]]) -> None:
    for split in splits_of(data):
        same = [[item for item in group if item.split == split] for group in groups]
        same = [group for group in same if len(group) > 1]
        if same:
            spare = sum(len(group) - 1 for group in same)
            names = [" = ".join(item.name for item in group) for group in same]
            section.note(f"{split}: {spare:,} {data.noun} are copies of others", names)


def _near(section: Section, data: SplitData, near: list[Copy]) -> None:
    by_splits: dict[tuple[str, str], list[Copy]] = defaultdict(list)
    for copy in near:
        by_splits[copy.splits].append(copy)
    order = [*combinations(("test", "val", "train"), 2), *((split, split) for split in ("train", "val", "test"))]
    for splits in order:
        if pairs := by_splits.get(splits):
            where = f"in {splits[1]} and {splits[0]}" if splits[0] != splits[1] else f"within {splits[0]}"
            names = [_named(data, copy) for copy in pairs]
            alike = "lines that read alike" if isinstance(data, TextData) else f"{data.noun} that look alike"
            section.note(f"{counted(len(pairs), 'pairs')} of {alike} {where}: look at them", names)


def _named(data: SplitData, copy: Copy) -> str:
    sign = "~ mirrored" if copy.kind == "mirrored" else "~"
    labels = {item.label for item in (copy.first, copy.second)} - {None}
    names = [name for i, name in enumerate(data.classes or []) if i in labels]
    classes = f", {' and '.join(names)}" if len(names) > 1 else ""
    return f"{copy.first.name} {sign} {copy.second.name} ({copy.similarity:.3f}{classes})"


def _draw(section: Section, data: SplitData, pairs: Sequence[Copy], title: str) -> None:
    pairs = pairs[:DRAWN]
    if not pairs or isinstance(data, TextData):
        return
    images = [(_image(data, copy.first), _image(data, copy.second)) for copy in pairs]
    captions = [
        f"{caption(copy.first.name, copy.first.split)}\n{caption(copy.second.name, copy.second.split)}"
        + (f"\n{copy.kind}, {copy.similarity:.3f}" if copy.kind != "identical" else "")
        for copy in pairs
    ]
    words = "; ".join(_named(data, copy) for copy in pairs)
    section.figures.append(Figure(pairs_figure(images, captions, title), f"{title}: {words}"))


def _image(data: SplitData, item: Item) -> np.ndarray:
    """An image to be drawn; of a video its middle frame."""
    source, _ = splits_of(data)[item.split]
    if isinstance(data, VideoDataModule):
        return middle_frame(source, item.row)
    return source.image(item.row) if item.path is None else shown(item.path)
