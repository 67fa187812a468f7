"""Near duplicates of images by perceptual hash: copies that were encoded anew, resized, brightened or mirrored.

A thumbnail's low frequencies give 128 bits, the signs of its discrete cosine transform (Zauner 2010, pHash). Pairs that
share one of eight parts of their bits (multi-index hashing, Norouzi et al. 2012) and differ in few bits are compared by
the correlation of their thumbnails, so that the work grows with the pairs that are alike, not with all pairs.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from datamodules.decoding import read_image
from modules.contracts import DataError

SIDE = 32  # pixels of a thumbnail
BITS = 128
FREQUENCIES = 16  # those below are looked at, in both directions
MOST_BITS = 24  # that may differ
SIMILAR = 0.9  # least correlation of the low frequencies
FLAT = 2.0  # gray levels of standard deviation, below which a thumbnail tells nothing
BLOCK = 4096  # thumbnails that are looked at at once
FITTED = 1000  # thumbnails that are enough to balance the bits by
REDUCED = {8: cv2.IMREAD_REDUCED_GRAYSCALE_8, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2}


class Near(NamedTuple):
    """Two images that look alike.

    Args:
        first, second: indices, ascending.
        similarity: correlation of their thumbnails, at most 1.
        mirrored: true if one is the mirror image of the other.
    """

    first: int
    second: int
    similarity: float
    mirrored: bool


def read_thumbnail(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Gray thumbnail (SIDE, SIDE), uint8, of an image file, upright; JPEG is decoded at the scale that is enough.

    Args:
        path: of the file.
        shape: its height and width.

    Raises:
        DataError: it cannot be decoded.
    """
    scale = next((scale for scale in REDUCED if min(shape) >= scale * SIDE), 1)
    image = None
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), REDUCED.get(scale, cv2.IMREAD_GRAYSCALE))
    except (OSError, cv2.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    return thumbnail(read_image(path) if image is None else image)


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Gray thumbnail (SIDE, SIDE), uint8, of an image uint8 (H, W) or (H, W, 3)."""
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def near_duplicates(thumbnails: np.ndarray, least: float = SIMILAR) -> list[Near]:
    """Pairs of thumbnails uint8 (N, SIDE, SIDE) that look alike, each once; flat ones are left out."""
    told = np.flatnonzero(thumbnails.std((1, 2)) >= FLAT)
    values, odd = _frequencies(thumbnails, told)
    turn = np.where(odd, -1, 1).astype(np.float32)  # values of the mirror image
    middle = np.where(odd, 0, np.median(values, axis=0)) if len(told) >= FITTED else np.zeros(BITS)
    plain, turned = ((np.packbits(v > middle, axis=1)).view(np.uint64) for v in (values, values * turn))
    first, second, mirrored = _candidates(plain, turned)
    found: dict[tuple[int, int], Near] = {}
    for start in range(0, len(first), BLOCK):
        i, j, flipped = (part[start : start + BLOCK] for part in (first, second, mirrored))
        similarity = (values[i] * np.where(flipped[:, None], turn, 1) * values[j]).sum(1)
        for k in np.flatnonzero(similarity >= least).tolist():
            pair = int(told[i[k]]), int(told[j[k]])
            if pair not in found or similarity[k] > found[pair].similarity:
                found[pair] = Near(*pair, float(similarity[k]), bool(flipped[k]))
    return [found[pair] for pair in sorted(found)]


def _frequencies(thumbnails: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Low frequencies of the thumbnails `rows`, float32 (N, BITS) of length 1; and true for horizontally odd ones.

    The mean is left out; odd ones change their sign in the mirror image.
    """
    every = ((u, v) for u in range(FREQUENCIES) for v in range(FREQUENCIES))
    vertical, horizontal = np.array(sorted(every, key=lambda pair: (sum(pair), pair))[1 : BITS + 1]).T
    basis = np.cos(np.pi / SIDE * np.outer(np.arange(FREQUENCIES), np.arange(SIDE) + 0.5)).astype(np.float32)
    basis[0] /= np.sqrt(2)
    values = np.empty((len(rows), BITS), np.float32)
    for start in range(0, len(rows), BLOCK):
        shown = thumbnails[rows[start : start + BLOCK]].astype(np.float32)
        values[start : start + BLOCK] = (basis @ shown @ basis.T)[:, vertical, horizontal]
    return values / np.linalg.norm(values, axis=1, keepdims=True), horizontal % 2 == 1


def _candidates(bits: np.ndarray, mirrored: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs that share a part of their bits and differ in at most MOST_BITS: first < second, and true if mirrored.

    Args:
        bits: of the images, uint64 (N, BITS / 64).
        mirrored: of their mirror images.
    """
    count, both, found = len(bits), np.concatenate([bits, mirrored]), [np.zeros(0, np.int64)]
    for part in both.view(np.uint16).T:
        order = np.argsort(part, kind="stable")
        keys, alive, step = part[order], np.arange(len(order)), 1
        while len(alive):  # pairs of equal keys that lie `step` apart
            alive = alive[: np.searchsorted(alive, len(order) - step)]
            alive = alive[keys[alive] == keys[alive + step]]
            i, j = order[alive], order[alive + step]
            i, j, step = np.minimum(i, j), np.maximum(i, j), step + 1
            kept = (i < count) & (i < j % count)
            i, j = i[kept], j[kept]
            near = np.bitwise_count(both[i] ^ both[j]).sum(1) <= MOST_BITS
            found.append(i[near] * 2 * count + j[near])
    pairs = np.unique(np.concatenate(found))
    first, second = pairs // (2 * count), pairs % (2 * count)
    return first, second % count, second >= count
