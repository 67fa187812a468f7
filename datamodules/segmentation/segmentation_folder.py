"""Semantic segmentation from folders or lists of images and masks."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from datamodules.base import Split
from datamodules.pairs import HIGHEST, Legend, Pairs
from datamodules.segmentation.class_tables import read_class_table
from datamodules.segmentation.color_masks import ColorMaskFiles
from datamodules.segmentation.edges import check_edges
from datamodules.segmentation.layouts import find_pairs
from datamodules.segmentation.mask_data import VOID, MaskDataModule
from datamodules.segmentation.mask_statistics import found_values
from datamodules.segmentation.pair_files import to_pairs
from datamodules.setting_roles import Role
from modules.contracts import IGNORE, ConfigError, DataError

REMEDY = "mend the mask, name the class in data.classes, or add the value to data.ignore"


class SegmentationFolder(MaskDataModule):
    """Images and masks in two folders, or named by lists.

    `root/images/train/*.jpg` and `root/masks/train/*.png` with equal names, `val` and `test` beside `train`, or the
    folders the other way round: `root/train/images`. Else `root/train.txt`, `val.txt` and `test.txt`, if there are any,
    name an image and its mask per line, or those of `root/ImageSets/Segmentation` the names of both. Else all of
    `root/images` is for training. Where none of these is there, masks may lie beside their images, as cat_mask.png
    beside cat.jpg in `root/train` (Roboflow), or in `SegmentationClass` beside `JPEGImages` (Pascal VOC, CVAT).

    A mask is a gray or palette image (PNG) with one number per pixel, or has one color per class, which
    `root/labelmap.txt`, `class_dict.csv` or `label_colors.txt` names; the number of a class is then its place there.

    Args:
        root: the folder.
        images: name of the folder of images.
        masks: name of the folder of masks.
        mask_suffix: ending of a mask's name behind that of its image: `_mask` for cat.jpg and cat_mask.png.
        classes: names, that of number 0 first, also of numbers that are ignored; null reads `root/classes.txt`, a name
            or a number and a name per line, `_classes.csv` or the file of colors, or names all numbers found `class 0`,
            `class 1`, ...
        values: the number of each class, where they are not 0, 1, 2, ...: [0, 255] for black and white masks.
        ignore: numbers that stand for no class, besides 255.

    Raises:
        ConfigError: classes, values and ignore that contradict each other.
        DataError: no such folders or lists, files without partner, or masks that are none.
    """

    roles: ClassVar[dict[str, Role]] = {
        "root": "location",
        "images": "samples",
        "masks": "samples",
        "mask_suffix": "samples",
        "classes": "input",
        "values": "input",
        "ignore": "input",
    }

    def __init__(
        self,
        root: str,
        images: str = "images",
        masks: str = "masks",
        mask_suffix: str = "",
        classes: list[str] | None = None,
        values: list[int] | None = None,
        ignore: int | list[int] = [],  # noqa: B006  never changed, and what a YAML can say
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.root, self.folders, self.suffix = Path(root).expanduser(), (images, masks), mask_suffix
        if not self.root.is_dir():
            raise DataError(f"data.root {self.root} is not a folder")
        self.table = read_class_table(self.root)
        found = find_pairs(self.root, self.folders, self.suffix, self.unlabeled)
        self._pairs = {split: self._colored(to_pairs(self.root, paths, Legend((0,)))) for split, paths in found.items()}
        if values and len(set(values)) < len(values):
            raise ConfigError(f"data.values is {values}, but each number stands for one class: name it once")
        ignored = {ignore} if isinstance(ignore, int) else set(ignore)
        named = self._named(classes, values) or self._found(values, ignored)
        legend = _legend(named, ignored, given=values is not None or self._names_255(named))
        self.classes = [named[value] for value in legend.values]
        self._pairs = {split: replace(pairs, legend=legend) for split, pairs in self._pairs.items()}
        if self.table and self.table.colors and len(self.table.colors) == len(named):
            colors = dict(zip(named, self.table.colors, strict=True))
            self.palette = [colors[value] for value in legend.values]

    def sources(self) -> dict[Split, Pairs]:
        return self._pairs

    def _colored(self, pairs: Pairs) -> Pairs:
        """The same pairs, with color-coded masks if the class table has colors and no values."""
        if self.table is None or self.table.colors is None or self.table.values:
            return pairs
        maps = ColorMaskFiles(pairs.maps.root, pairs.maps.paths, tuple(self.table.colors), self.table.file)
        return replace(pairs, maps=maps)

    def _names_255(self, named: dict[int, str]) -> bool:
        """True if a CSV makes 255 a class, as in black and white masks."""
        csv = self.table is not None and self.table.values and self.table.file.suffix == ".csv"
        return bool(csv) and not VOID.search(named.get(IGNORE, "void"))

    def _named(self, classes: list[str] | None, values: list[int] | None) -> dict[int, str] | None:
        """The class name of each value; null if nothing names them."""
        table, numbers = self.table, values
        if classes is None and table:
            classes, numbers = table.names, values or table.values
        if classes is None:
            return None
        if values and len(values) != len(classes):
            raise ConfigError(f"data.values has {len(values)} numbers for {len(classes)} classes: give one for each")
        if len(set(classes)) < len(classes):
            twice = next(name for name in classes if classes.count(name) > 1)
            raise ConfigError(f"data.classes has two classes called {twice!r}: each needs a name of its own")
        return dict(zip(numbers or range(len(classes)), classes, strict=True))

    def _found(self, values: list[int] | None, ignored: set[int]) -> dict[int, str]:
        """Default names for the values in the masks."""
        if values is None:
            found = {value for pairs in self._pairs.values() for value in found_values(self.statistics(pairs))}
            for pairs in self._pairs.values():
                readable = (i for i, row in enumerate(self.statistics(pairs)) if row)
                check_edges((pairs.maps.values(i) for i in readable), str(pairs.maps.path(0).parent))
            if found == {0, IGNORE}:
                raise ConfigError(
                    f"the masks in {self.root} hold nothing but 0 and {IGNORE}, which means void: "
                    f"set data.values to [0, {IGNORE}] if it is a class"
                )
            values = sorted(found - ignored - {IGNORE})
        return {value: f"class {value}" for value in values}


def _legend(named: dict[int, str], ignored: set[int], given: bool) -> Legend:
    """The values of classes, and the ignored ones.

    Args:
        given: true if the user listed the values of classes, so that 255 may be one.
    """
    if given and (both := ignored & named.keys()):
        raise ConfigError(f"data.ignore names {min(both)}, which data.values says is a class: take it out of one")
    void = ignored if given and IGNORE in named else ignored | {IGNORE}
    values = [value for value in named if value not in void]
    if not values or min(values) < 0 or max(values) >= HIGHEST:
        raise ConfigError(
            f"data.classes, data.values and data.ignore leave the numbers {values} as classes: "
            f"they need one at least, all from 0 to {HIGHEST - 1}"
        )
    return Legend(tuple(values), frozenset(void), REMEDY)
