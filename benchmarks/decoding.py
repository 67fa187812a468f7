"""Clips per second of video decoding: seeking to the needed frames against decoding whole files and indexing.

Same video files, same frames, the same bytes (checked), in one process. The peer decodes every frame of the file to RGB
with PyAV's defaults, as loaders that index a whole video do; further rows give it one thread, as ours has, and take
frames shrunk to 128 pixels, as training needs them, from both (the peer shrinks with cv2.INTER_AREA after indexing).
Seconds are those of the process with all its threads, not of the wall; the files lie in the page cache.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from benchmarks.report import Comparison, compare, in_pairs, parser
from datamodules.video.decode import read_frames, scaled_shape
from datamodules.video.files import find_videos
from datamodules.video.index import Index, read_index
from datamodules.video.sampling import Sampling

MARK = ">= 1.5"  # ratio to reading whole files
SIDE = 128

Clip = tuple[Path, Index, np.ndarray]
"""A file, its frame index, and the numbers of the wanted frames."""


def clips(root: Path, sampling: Sampling) -> list[Clip]:
    """A random clip of each file below `root` that can be decoded."""
    random, found = np.random.default_rng(0), []
    for path in find_videos(root):
        index = read_index(path)
        if isinstance(index, Index):
            found.append((path, index, np.unique(sampling.train(len(index.times), random))))
    return found


def ours(clip: Clip, side: int | None = None) -> np.ndarray:
    return read_frames(*clip, side)


def whole(clip: Clip, side: int | None = None, threads: int = 0) -> np.ndarray:
    """Decode the whole file, then take the same frames."""
    path, index, wanted = clip
    with av.open(str(path)) as file:
        if threads:
            file.streams.video[0].codec_context.thread_count = threads
        every = np.stack([frame.to_ndarray(format="rgb24", threads=threads) for frame in file.decode(video=0)])
    shown = np.rot90(every[wanted], index.turns, (1, 2))
    if side is None:
        return shown
    height, width = scaled_shape(shown.shape[1:3], side)
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in shown])


def rate(read: Callable[[Clip], np.ndarray], chosen: list[Clip]) -> float:
    """Clips per second."""
    began = time.process_time()
    for clip in chosen:
        read(clip)
    return len(chosen) / (time.process_time() - began)


def measure(name: str, chosen: list[Clip], repeats: int) -> list[Comparison]:
    """The rows of one way of sampling."""
    if not all(np.array_equal(ours(clip), whole(clip)) for clip in chosen):
        raise RuntimeError("the frames are not those of the whole file")
    rows = []
    for what, settings, theirs, mark in (
        ("", {}, {}, MARK),
        (", peer on one thread", {}, {"threads": 1}, ""),
        (f", shrunk to {SIDE}", {"side": SIDE}, {"side": SIDE, "threads": 1}, ""),
    ):
        rates = in_pairs(
            lambda s=settings: rate(lambda clip: ours(clip, **s), chosen),
            lambda t=theirs: rate(lambda clip: whole(clip, **t), chosen),
            repeats,
        )
        rows.append(Comparison(f"{name}{what}", "clips/s", *rates, mark))
    return rows


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--root", type=Path, required=True, help="any folder of videos")
    options.add_argument("--frames", type=int, default=16, help="frames of a clip")
    options.add_argument("--repeats", type=int, default=5, help="pairs of runs")
    args = options.parse_args(argv)
    ways = {"uniform": Sampling(args.frames), "dense": Sampling(args.frames, "dense")}
    rows = []
    for name, sampling in ways.items():
        chosen = clips(args.root, sampling)
        if not chosen:
            options.error(f"{args.root} has no videos")
        rows += measure(f"{args.frames} {name} frames", chosen, args.repeats)
    title = f"Clips from {len(chosen)} videos of {args.root}, one process, {args.repeats} pairs"
    return compare("decoding", title, rows, "whole files", args.json, root=str(args.root), videos=len(chosen))


if __name__ == "__main__":
    main()
