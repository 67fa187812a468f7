"""Where pictures come from: files that are read when needed, or an array in memory."""

import os
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

from datamodules.cache import digest, stamp
from modules.contracts import DataError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"}
# How whole files begin and end; anything else is decoded once to be sure.
FRAMES = ((b"\xff\xd8\xff", b"\xff\xd9"), (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"))


@dataclass(frozen=True)
class Arrays:
    """Pictures in memory: `images` uint8 (N, H, W, 3), `labels` int64 (N,) or null."""

    images: np.ndarray
    labels: np.ndarray | None
    prefix: str

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every picture."""
        return self.images.shape[1:3]

    def image(self, index: int) -> np.ndarray:
        return self.images[index]

    def id(self, index: int) -> str:
        return f"{self.prefix}/{index:06d}"

    def fingerprint(self) -> str:
        """A digest that changes with any picture or label."""
        parts = [self.images] if self.labels is None else [self.images, self.labels]
        return digest([a.shape, sha256(np.ascontiguousarray(a)).hexdigest()] for a in parts)


@dataclass(frozen=True)
class Files:
    """Picture files below `root`: `paths` as bytes in one array, so that workers share them; `labels` (N,) or null."""

    root: Path
    paths: np.ndarray
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of the pictures, upright; null when they differ. Opens files until one differs."""
        known = None
        for i in range(len(self)):
            shape = read_shape(self.root / self.id(i))
            if shape and known and shape != known:
                return None
            known = known or shape
        return known

    def image(self, index: int) -> np.ndarray:
        return read_image(self.root / self.id(index))

    def id(self, index: int) -> str:
        return os.fsdecode(self.paths[index])

    def fingerprint(self) -> str:
        """A digest that changes with any label and, as far as size and time of change tell, any file."""
        labels = [] if self.labels is None else self.labels.tolist()
        return digest([labels, *(stamp(self.root / self.id(i)) for i in range(len(self)))])

    def broken(self) -> list[int]:
        """Indices of files that cannot be decoded. Opens each, but decodes only those that look cut short or odd."""
        return [i for i in range(len(self)) if not is_whole(self.root / self.id(i))]


Source = Arrays | Files


def find_images(folder: Path) -> list[Path]:
    """All picture files below a folder, sorted; hidden files and folders are passed over."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def read_image(path: Path) -> np.ndarray:
    """A picture file as uint8 RGB (H, W, 3): turned upright by EXIF, grey and palette expanded, 16 bits to 8, no alpha.

    Raises:
        DataError: the file is missing, empty or no picture.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is not None:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    try:  # what OpenCV does not know, such as GIF
        with Image.open(path) as file:
            return np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path} is not a picture that can be decoded: remove it, or set --data.on_error skip"
        ) from error


def read_shape(path: Path) -> tuple[int, int] | None:
    """Height and width of a picture file as `read_image` gives it; null if it is none."""
    try:
        with Image.open(path) as file:
            width, height = file.size
            return (width, height) if is_turned(file) else (height, width)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # found broken when it is read


def is_whole(path: Path) -> bool:
    """Whether a picture file can be decoded to its end. Decodes it only if it looks cut short or odd."""
    return _looks_whole(path) or _decodes(path)


def is_turned(file: Image.Image) -> bool:
    """Whether EXIF lays the picture on its side, so that its height is its width in the file."""
    if file.format == "PNG" and not _png_has_exif(Path(file.filename)):
        return False  # Pillow would decode all of it, because it may stand at the end
    return file.getexif().get(ExifTags.Base.Orientation, 1) >= 5


def _png_has_exif(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4]), head[4:]
            if kind == b"eXIf":
                return True
            text = kind in (b"tEXt", b"zTXt", b"iTXt")
            if text and file.read(min(length, 11)) == b"Raw profile":  # as ImageMagick writes it
                return True
            file.seek(length + 4 - (min(length, 11) if text else 0), os.SEEK_CUR)
    return False


def _looks_whole(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(16)
        for start, end in FRAMES:
            if head.startswith(start):
                file.seek(-len(end), 2)
                return file.read() == end
    return False


def _decodes(path: Path) -> bool:
    try:  # Pillow, unlike OpenCV, refuses files that are cut short
        with Image.open(path) as file:
            file.load()
        return True
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
