"""All sections of the page of `check`, by what a data module holds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from commands.check.annotations import check_masks, check_objects
from commands.check.copies import check_copies, copies_of, equal_groups
from commands.check.files import check_broken, check_sizes
from commands.check.findings import Item, all_items
from commands.check.near import Copy, similar, similar_sentences, thumbnails_of
from commands.check.splits import check_splits
from commands.check.texts import check_captions, check_pairs, check_videos
from commands.page import Finding, Section
from datamodules import DataModule
from datamodules.captions.caption_data import CaptionData
from datamodules.detection.object_data import ObjectDataModule
from datamodules.image_files import ImageFilesData
from datamodules.segmentation.mask_data import MaskDataModule
from datamodules.split_data import SplitData
from datamodules.text.text_data import TextData
from datamodules.video.video_data import VideoDataModule
from datamodules.video.videos_on_disk import VideosOnDisk
from modules.contracts import counted

ANNOTATIONS: dict[type, Callable[[Any], Section]] = {
    ObjectDataModule: check_objects,
    MaskDataModule: check_masks,
    CaptionData: check_captions,
    TextData: check_pairs,
    VideosOnDisk: check_videos,
}


@dataclass
class Checked:
    """All that was found.

    Args:
        sections: of the page.
        groups: samples of equal content.
        copies: all pairs of equal or similar ones.
        damaged: images and videos that cannot be decoded, although they looked whole.
        classes: names of the labels.
    """

    sections: list[Section]
    groups: list[list[Item]] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    damaged: list[Item] = field(default_factory=list)
    classes: list[str] | None = None


def check_all(data: DataModule, refused: list[str], ready: bool) -> Checked:
    """Check a data module that is set up.

    Args:
        data: any; one without splits only says what `fit` says of it.
        refused: sentences with which `fit` refuses it.
        ready: true if it is set up without the samples that `fit` refuses.
    """
    start = Section("As fit sees it", findings=[Finding(text, wrong=True) for text in refused])
    if ready:
        start.lines += [line for line in data.describe() if not line.startswith("warning: ")]
    if not isinstance(data, SplitData):
        return Checked([start])
    items = all_items(data)
    sections = [start, check_splits(data), check_broken(data)]
    groups, near, damaged = equal_groups(data, items), [], []
    if isinstance(data, ImageFilesData | VideoDataModule):
        thumbnails, failed = thumbnails_of(data, items)
        near = similar(items, thumbnails, groups)
        damaged = [item for item, wrong in zip(items, failed, strict=True) if wrong]
        if damaged:
            sections[-1].lines.clear()  # those of all samples that can be used
            names = [item.name for item in damaged]
            sections[-1].wrong(f"{counted(len(names), data.noun)} that cannot be decoded, so training stops", names)
        if isinstance(data, ImageFilesData) and items[0].path is not None:
            sections.append(check_sizes(data, items, thumbnails, failed))
    elif isinstance(data, TextData):
        near = similar_sentences(data, items, groups)
    sections += [look(data) for kind, look in ANNOTATIONS.items() if isinstance(data, kind)]
    sections.append(check_copies(data, groups, near))
    return Checked(sections, groups, [*copies_of(groups), *near], damaged, data.classes)
