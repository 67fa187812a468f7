"""Seconds of the search for sentence pairs of two splits that read alike, its false alarms, and what it finds.

A tenth of the pairs of two files is the test set, the others are for training. Up to a thousand of the test set are
copied into training, changed in one way. Further pairs, up to as many as asked for, are halves of two joined. Seconds
are those of the processor.
"""

import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import parser, publish
from datamodules.text.bitext import read_pair
from datamodules.text.near_sentences import near_sentences

MARK_SECONDS = 60  # for 100,000 pairs on one core
COPIED = 1000  # pairs at most
LEAST_WORDS = 8  # of a sentence that changes: one word is much of a shorter one

Change = Callable[[str, np.random.Generator], str]


def _replaced(text: str, random: np.random.Generator) -> str:
    words = text.split()
    words[random.integers(len(words))] = "something"
    return " ".join(words)


CHANGES: dict[str, tuple[Change, Change]] = {
    "other case": (lambda text, _: text.upper(),) * 2,
    "other punctuation": (lambda text, _: text.replace(".", " !").replace(",", " -").replace("'", "’") + " ...",) * 2,
    "other Unicode form": (lambda text, _: unicodedata.normalize("NFD", text),) * 2,
    "one word of the source replaced": (_replaced, lambda text, _: text),
    "one word of each side replaced": (_replaced, _replaced),
}


def enlarged(sides: list[list[str]], count: int) -> list[list[str]]:
    """`count` pairs: the given ones, and halves of two of them joined."""
    random, made = np.random.default_rng(0), [list(side) for side in sides]
    while len(made[0]) < count:
        one, two = random.integers(len(sides[0]), size=2)
        for side, texts in zip(made, sides, strict=True):
            first, second = texts[one].split(), texts[two].split()
            side.append(" ".join(first[: len(first) // 2] + second[len(second) // 2 :]))
    return [side[:count] for side in made]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Print seconds, pairs among the originals, and the share of the copies that is found."""
    options = parser(__doc__)
    options.add_argument("--source", type=Path, required=True, help="text file, a sentence per line")
    options.add_argument("--target", type=Path, required=True, help="its translations, line by line")
    options.add_argument("--pairs", type=int, default=100_000, help="sentence pairs that are searched")
    args = options.parse_args(argv)
    pairs = read_pair(args.source, args.target, strict=False)
    assert pairs.target is not None
    given = [pairs.source, pairs.target]
    splits = (np.arange(len(pairs)) % 10 > 0).astype(int)
    alarms = near_sentences(given, splits)
    print(f"{len(pairs):,} pairs: {len(alarms):,} of two splits read alike as they are")
    chosen = [i for i in np.flatnonzero(splits == 0) if all(len(side[i].split()) >= LEAST_WORDS for side in given)]
    chosen, random, found = chosen[:COPIED], np.random.default_rng(0), {}
    for name, changes in CHANGES.items():
        sides = [
            [*texts, *(change(texts[i], random) for i in chosen)] for texts, change in zip(given, changes, strict=True)
        ]
        known = {(i, j) for i, j, _ in near_sentences(sides, np.append(splits, np.ones(len(chosen), int)))}
        found[name] = float(np.mean([(i, len(pairs) + k) in known for k, i in enumerate(chosen)]))
        print(f"  found of {len(chosen):,} copies, {name}: {100 * found[name]:.1f} %")
    sides = enlarged(given, args.pairs)
    began = time.process_time()
    alike = near_sentences(sides, (np.arange(args.pairs) % 10 > 0).astype(int))
    seconds = time.process_time() - began
    print(f"{args.pairs:,} pairs: {seconds:.1f} s (mark: {MARK_SECONDS} s for 100,000), {len(alike):,} read alike")
    return publish("near_sentences", args.json, seconds=seconds, pairs=args.pairs, alarms=len(alarms), recall=found)


if __name__ == "__main__":
    main()
