"""Sections of text and video: lengths of sentences and captions, empty and copied ones; frames and rates of videos."""

from collections import Counter

import numpy as np

from commands.check.drawing import histogram
from commands.check.findings import splits_of
from commands.page import Figure, Section, Table
from datamodules.captions.caption_data import CaptionData
from datamodules.split_data import extent
from datamodules.text.bitext import Bitext
from datamodules.text.text_data import TextData
from datamodules.video.videos_on_disk import VideosOnDisk
from modules.contracts import counted

UNEVEN, LONG = 4, 10  # a sentence of LONG words or more, this many times as long as its translation, is odd
LOST = "\ufffd"  # in place of a character that could not be decoded


def check_pairs(data: TextData) -> Section:
    """Lengths of sentences; pairs that are empty, equal, of very different lengths, or hold lost characters."""
    section, lengths = Section("Sentences"), {}
    found: dict[str, list[str]] = {"empty": [], "same": [], "uneven": [], "lost": []}
    for split, (pairs, rows) in splits_of(data).items():
        for side, (_, texts) in zip(("source", "target"), pairs.sides(), strict=False):
            lengths[f"{split} {side}"] = np.array([len(texts[i].split()) for i in rows])
            found["lost"] += [f"{pairs.id(i)} ({side})" for i in rows if LOST in texts[i]]
        found["empty"] += dict.fromkeys(pairs.unusable().values())
        if pairs.target is not None:
            found["same"] += [f"{pairs.id(i)} {pairs.source[i]!r}" for i in rows if pairs.source[i] == pairs.target[i]]
            found["uneven"] += _uneven(pairs, rows, lengths[f"{split} source"], lengths[f"{split} target"])
    _lengths(section, lengths, "words of a sentence")
    for key, text in (
        ("empty", "without text on one side, left out"),
        ("same", "whose source and target are the same"),
        ("uneven", f"of which one side has {UNEVEN} times as many words as the other"),
        ("lost", "with a character that was lost in an earlier conversion"),
    ):
        if found[key]:
            section.note(f"{counted(len(set(found[key])), 'pairs')} {text}", [*dict.fromkeys(found[key])])
    return section


def check_captions(data: CaptionData) -> Section:
    """Captions: number of each image, lengths, and captions that are empty or stand twice below one image."""
    section, lengths, each, twice = Section("Captions"), {}, {}, []
    for split, (source, rows) in splits_of(data).items():
        lengths[split] = np.array([len(text.split()) for i in rows for text in source.captions[i]])
        each[split] = [len(source.captions[i]) for i in rows]
        for i in rows:
            again = [text for text, count in Counter(source.captions[i]).items() if count > 1]
            twice += [f"{source.id(i)} {text!r}" for text in again]
    _lengths(section, lengths, "words of a caption")
    for split, counts in each.items():
        section.lines.append(f"{split}: {extent(counts)} captions for an image")
    if data.dropped:
        section.note(f"{counted(len(data.dropped), 'captions')} without text, left out", data.dropped)
    if twice:
        section.note(f"{counted(len(twice), 'captions')} twice below one image", twice)
    return section


def check_videos(data: VideosOnDisk) -> Section:
    """Frames, seconds and sizes of videos, and videos that are shorter than a clip."""
    section, frames, rows, short = Section("Videos"), {}, [], []
    for split, (source, kept) in splits_of(data).items():
        times = [source.times(i) for i in kept]
        frames[split] = np.array([len(part) for part in times])
        sides = np.array([source.shape(i) for i in kept])
        cells = [extent(part.tolist()) for part in (frames[split], sides[:, 1], sides[:, 0])]
        rows.append((split, f"{len(kept):,}", *cells))
        short += [
            f"{source.id(i)} ({len(part)} frames)"
            for i, part in zip(kept, times, strict=True)
            if len(part) < data.sampling.span
        ]
    section.tables.append(Table(("split", "videos", "frames", "width", "height"), rows))
    words = "; ".join(f"{row[0]}: {row[2]}" for row in rows)
    section.figures.append(Figure(histogram(frames, "frames of a video", "frames"), f"frames of a video; {words}"))
    if short:
        action = {"loop": "begin again", "pad": "repeat their last frame", "error": "are refused"}
        said = action[data.sampling.short_clips]
        section.note(
            f"{counted(len(short), 'videos')} shorter than a clip of {data.sampling.span} frames: they {said} "
            f"(data.short_clips)",
            short,
        )
    return section


def _uneven(pairs: Bitext, rows: np.ndarray, one: np.ndarray, two: np.ndarray) -> list[str]:
    long, short = np.maximum(one, two), np.minimum(one, two)
    odd = np.flatnonzero((long >= LONG) & (long >= UNEVEN * short))
    return [f"{pairs.id(rows[k])} ({one[k]} and {two[k]} words)" for k in odd]


def _lengths(section: Section, lengths: dict[str, np.ndarray], title: str) -> None:
    rows = [
        (name, f"{len(part):,}", f"{part.min()}", f"{np.median(part):.0f}", f"{part.max()}")
        for name, part in lengths.items()
    ]
    section.tables.append(Table(("part", "count", "least words", "median", "most"), rows))
    words = "; ".join(f"{row[0]}: {row[2]} to {row[4]}, median {row[3]}" for row in rows)
    section.figures.append(Figure(histogram(lengths, title, "words"), f"{title}; {words}"))
