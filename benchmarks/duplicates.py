"""Images per second of the perceptual hash, seconds of the search for near duplicates, and its false alarms.

On JPEG files, read again and again from the page cache by one thread until there are as many as asked for. The peer is
imagehash's `phash` where it is installed, else decoding whole with Pillow and shrinking, which any such hash begins
with. Seconds are those of the processor. Recall is the share of copies that are found, of up to 500 of the files.
"""

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageEnhance

from benchmarks.report import Comparison, compare, in_pairs, parser
from datamodules.decoding import read_header
from datamodules.near_duplicates import near_duplicates, read_thumbnail, thumbnail

MARK_SECONDS = 120  # for 100,000 images on one core
COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of quality 75": lambda image: _encoded(image, 75),
    "JPEG of quality 30": lambda image: _encoded(image, 30),
    "half the size": lambda image: image.resize([max(1, side // 2) for side in image.size]),
    "30 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "30 % more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "gray": lambda image: image.convert("L").convert("RGB"),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "5 % cut off": lambda image: _cut(image, 0.05),
    "10 % cut off": lambda image: _cut(image, 0.1),
}


def ours(path: Path) -> np.ndarray:
    """The thumbnail of a file, as `check` makes it."""
    return read_thumbnail(path, read_header(path).shape)


def peer() -> tuple[str, Callable[[Path], Any]]:
    """Name and function of the peer."""
    try:
        import imagehash
    except ImportError:
        return "Pillow, whole image", lambda path: Image.open(path).convert("L").resize((32, 32))
    return "imagehash.phash", lambda path: imagehash.phash(Image.open(path))


def rate(read: Callable[[Path], Any], files: list[Path]) -> float:
    """Images per second of the processor."""
    began = time.process_time()
    for path in files:
        read(path)
    return len(files) / (time.process_time() - began)


def recall(files: list[Path]) -> dict[str, float]:
    """Share of the copies of each kind that are found among all files and copies."""
    images = [Image.open(path).convert("RGB") for path in files]
    plain, found = [thumbnail(np.asarray(image)) for image in images], {}
    for kind, copy in COPIES.items():
        copied = [thumbnail(np.asarray(copy(image))) for image in images]
        pairs = {(pair.first, pair.second) for pair in near_duplicates(np.stack([*plain, *copied]))}
        found[kind] = float(np.mean([(i, i + len(images)) in pairs for i in range(len(images))]))
    return found


def search(thumbnails: np.ndarray, count: int) -> tuple[float, int]:
    """Seconds of the search among `count` images, and pairs: the thumbnails, and shuffled ones of their quarters."""
    random, parts = np.random.default_rng(0), [thumbnails]
    half = thumbnails.shape[1] // 2
    while sum(map(len, parts)) < count:
        quarters = [thumbnails[random.permutation(len(thumbnails))] for _ in range(4)]
        upper = np.concatenate([quarters[0][:, :half, :half], quarters[1][:, :half, half:]], 2)
        lower = np.concatenate([quarters[2][:, half:, :half], quarters[3][:, half:, half:]], 2)
        parts.append(np.concatenate([upper, lower], 1))
    every = np.concatenate(parts)[:count]
    began = time.process_time()
    found = near_duplicates(every)
    return time.process_time() - began, len(found)


def _encoded(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def _cut(image: Image.Image, share: float) -> Image.Image:
    width, height = image.size
    left, top = round(share / 2 * width), round(share / 2 * height)
    return image.crop((left, top, width - left, height - top))


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--root", type=Path, required=True, help="any folder of JPEG files")
    options.add_argument("--images", type=int, default=100_000, help="images that the search looks through")
    options.add_argument("--files", type=int, default=1000, help="files that are read for each measurement")
    options.add_argument("--repeats", type=int, default=3, help="pairs of runs")
    args = options.parse_args(argv)
    cv2.setNumThreads(1)
    every = sorted(path for path in args.root.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not every:
        options.error(f"{args.root} has no JPEG files")
    files = [every[i] for i in np.linspace(0, len(every) - 1, min(len(every), args.files)).astype(int)]
    name, theirs = peer()
    rates = in_pairs(lambda: rate(ours, files), lambda: rate(theirs, files), args.repeats)
    rows = [Comparison("perceptual hash", "images/s", *rates)]
    hashing = args.images / float(np.median(rates[0]))
    found = recall(files[:: -(-len(files) // 500)])
    seconds, pairs = search(np.stack([ours(path) for path in every]), args.images)
    mark = f"mark: {MARK_SECONDS} s for 100,000"
    print(f"{args.images:,} images: {hashing:.0f} s to hash ({mark}), {seconds:.1f} s to search")
    print(f"pairs that look alike: {pairs:,}")
    for kind, share in found.items():
        print(f"  found of copies, {kind}: {100 * share:.1f} %")
    more = {"hash_seconds": hashing, "search_seconds": seconds, "pairs": pairs, "recall": found}
    title = f"Perceptual hash of {len(files):,} JPEG files of {args.root}, one thread, {args.repeats} pairs"
    return compare("duplicates", title, rows, name, args.json, root=str(args.root), **more)


if __name__ == "__main__":
    main()
