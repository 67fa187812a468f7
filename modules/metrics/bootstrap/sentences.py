"""Statistics of captions: n-grams of each, and of the references of its image."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import csr_array

from modules.metrics.bootstrap.consensus import Consensus
from modules.metrics.bootstrap.statistic import Statistic, Sums

Words = list[str]


def captions(
    said: Sequence[Words], true: Sequence[Sequence[Words]], counted: Callable[[Words], dict[tuple[str, ...], int]]
) -> list[Statistic]:
    """BLEU-1 to 4 and CIDEr-D of N captions and the references of their images, all as words.

    Args:
        said: captions.
        true: references, at least one each.
        counted: counts the n-grams of 1 to 4 words.
    """
    made = [counted(words) for words in said]
    references = [[counted(words) for words in several] for several in true]
    rows = []
    for words, own, several, texts in zip(said, made, references, true, strict=True):
        length = min((abs(len(text) - len(words)), len(text)) for text in texts)[1]
        right = np.zeros(4)
        for gram, count in own.items():
            right[len(gram) - 1] += min(count, max(one.get(gram, 0) for one in several))
        rows.append([len(words), length, *right, *(max(0, len(words) - n) for n in range(4))])
    names = [f"bleu_{n}" for n in range(1, 5)]
    table = np.array(rows, np.float64)
    return [Sums("caption_bleu", names, table), _consensus(made, references)]


def _consensus(said: list[dict], true: list[list[dict]]) -> Consensus:
    places: dict[tuple[str, ...], int] = {}
    flat = [one for several in true for one in several]
    tables = []
    for texts in (said, flat):
        rows, columns, data = [], [], []
        for i, grams in enumerate(texts):
            for gram, count in grams.items():
                rows.append(i)
                columns.append(places.setdefault(gram, len(places)))
                data.append(count)
        tables.append((data, rows, columns, len(texts)))
    size = len(places)
    first, second = (
        csr_array((np.array(data, np.int32), (rows, columns)), shape=(length, size))
        for data, rows, columns, length in tables
    )
    order = np.array([len(gram) - 1 for gram in places], np.int64)
    return Consensus(first, second, order, np.repeat(np.arange(len(true)), [len(several) for several in true]))
