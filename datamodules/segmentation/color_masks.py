"""Color-coded semantic masks: one color per class, as in CVAT's exports and CamVid."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from datamodules.cache import digest
from datamodules.segmentation.files import MaskFiles, numbers_of, open_mask
from modules.contracts import IGNORE, DataError
from modules.contracts.palette import RGB

BORDER = (224, 224, 192)  # Pascal VOC's color around objects, void


@dataclass(frozen=True)
class ColorMaskFiles(MaskFiles):
    """Mask files with one color per class.

    Args:
        colors: of the classes 0, 1, 2, ...
        table: the file that names them, for messages.
    """

    colors: tuple[RGB, ...]
    table: Path

    def values(self, index: int) -> np.ndarray:
        """uint8 (H, W): the place of each pixel's color in `colors`; 255 for the border color of Pascal VOC.

        Gray masks hold these numbers themselves, and so do palette masks in other colors.

        Raises:
            Undecodable: the file is missing, damaged or no image.
            DataError: a color that is none of `colors`, or compression as of photographs.
        """
        path = self.path(index)
        with open_mask(path) as file:
            if file.mode not in ("RGB", "RGBA", "P"):
                return numbers_of(file, path)
            numbers = np.asarray(file) if file.mode == "P" else None
            colors = np.asarray(file.convert("RGB"))
        found = self._places(colors)
        unknown = found < 0
        if numbers is not None and unknown.any():
            return numbers
        if unknown.any():
            odd, counts = np.unique(colors[unknown], axis=0, return_counts=True)
            worst = counts.argmax()
            more = f" and {len(odd) - 1:,} more colors" if len(odd) > 1 else ""
            raise DataError(
                f"the mask {path} has {counts[worst]:,} pixels of color {tuple(odd[worst].tolist())}{more}, which "
                f"{self.table} lacks: mend the mask, or add the color there"
            )
        return found.astype(np.uint8)

    def fingerprint(self) -> str:
        return digest([super().fingerprint(), self.colors])

    def palette(self) -> list[RGB]:
        return list(self.colors)

    def _places(self, colors: np.ndarray) -> np.ndarray:
        """int64 (H, W): the class of each color; -1 of unknown ones."""
        codes, classes = self._sorted
        found = colors.astype(np.int64) @ np.array([65536, 256, 1])
        places = np.searchsorted(codes, found).clip(max=len(codes) - 1)
        return np.where(codes[places] == found, classes[places], -1)

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """The colors as numbers, ascending, and the class of each."""
        known = {red << 16 | green << 8 | blue: i for i, (red, green, blue) in enumerate(self.colors)}
        red, green, blue = BORDER
        known.setdefault(red << 16 | green << 8 | blue, IGNORE)
        codes = np.array(sorted(known), np.int64)
        return codes, np.array([known[code] for code in codes.tolist()], np.int64)
