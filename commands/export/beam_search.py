"""Greedy and beam search with NumPy alone, over an exported decoder step; the same texts as `modules.text.search`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

PAD, BOS, EOS = 0, 1, 2
State = dict[str, np.ndarray]
Step = Callable[[np.ndarray, State], tuple[np.ndarray, State]]
"""Tokens int64 (R,) and the state to log-probabilities (R, V) and the parts of the state that changed."""


class Text(NamedTuple):
    """A text that was found.

    Args:
        tokens: without BOS and EOS.
        score: log-probability over the length penalty.
        log_probability: of all its tokens and, if finished, the end.
        finished: false where the longest allowed length came before the end.
    """

    tokens: list[int]
    score: float
    log_probability: float
    finished: bool


def search(step: Step, state: State, settings: dict[str, Any]) -> list[list[Text]]:
    """The likeliest texts of each source, the best first.

    Args:
        step: of the decoder.
        state: the first, a row for each source.
        settings: `num_beams` (1 is greedy), `length_penalty`, `num_return_sequences`, `max_length`, `min_length`,
            `no_repeat_ngram_size`.
    """
    width, wanted = settings["num_beams"], settings["num_return_sequences"]
    sources = len(next(iter(state.values())))
    alive, ended = np.arange(sources), [[] for _ in range(sources)]
    totals, said = np.zeros((sources, 1), np.float32), np.empty((sources, 1, 0), np.int64)
    tokens = np.full((sources, 1), BOS, np.int64)

    def text(row: np.ndarray, total: float, finished: bool) -> Text:
        return Text(row.tolist(), total / _penalty(len(row) + finished, settings), total, finished)

    for _ in range(settings["max_length"]):
        count, beams = tokens.shape
        logs, new = step(tokens.ravel(), state)
        logs = forbid(logs, said.reshape(count * beams, -1), settings)
        following = _top(logs, 2 * width)
        values = np.take_along_axis(logs, following, 1).reshape(count, beams, -1)
        grid = (totals[..., None] + values).reshape(count, -1)
        which = _top(grid, 2 * width)
        totals, beam = np.take_along_axis(grid, which, 1), which // values.shape[2]
        tokens = np.take_along_axis(following.reshape(count, -1), which, 1)
        ends = tokens == EOS
        for row, place in zip(*np.nonzero(ends[:, :width] & np.isfinite(totals[:, :width])), strict=True):
            ended[alive[row]].append(text(said[row, beam[row, place]], float(totals[row, place]), True))
        order = np.argsort(ends, axis=1, kind="stable")[:, :width]  # a beginning has one end: enough go on
        totals = np.where(ends, -np.inf, totals).astype(np.float32)
        totals, beam, tokens = (np.take_along_axis(each, order, 1) for each in (totals, beam, tokens))
        rows = beam + np.arange(count)[:, None] * beams
        said = np.concatenate([said.reshape(count * beams, -1)[rows], tokens[..., None]], 2)
        reach = totals[:, 0] / np.float32(_penalty(settings["max_length"], settings))
        going = [i for i in range(count) if not _done(ended[alive[i]], float(reach[i]), width, wanted)]
        alive, rows, tokens, totals, said = (each[going] for each in (alive, rows, tokens, totals, said))
        if not going:
            break
        state = _chosen(state | new, rows.ravel(), set(new), beams)
    found = [sorted(texts, key=lambda one: -one.score)[:wanted] for texts in ended]
    for row, source in enumerate(alive):
        begun = [text(said[row, i], float(total), False) for i, total in enumerate(totals[row]) if total != -np.inf]
        found[source] += begun[: wanted - len(found[source])]
    return found


def forbid(logs: np.ndarray, said: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    """Log-probabilities (R, V) with minus infinity where no such token may follow `said` (R, t)."""
    logs, size = logs.copy(), settings["no_repeat_ngram_size"]
    end = logs[:, EOS].copy()
    logs[:, [PAD, BOS]] = -np.inf
    if said.shape[1] < settings["min_length"]:
        logs[:, EOS] = -np.inf
    if 0 < size <= said.shape[1]:
        grams = np.lib.stride_tricks.sliding_window_view(said, size, 1)
        again = (grams[..., :-1] == said[:, None, said.shape[1] - size + 1 :]).all(-1)
        rows, places = np.nonzero(again)
        logs[rows, grams[rows, places, -1]] = -np.inf
        stuck = logs.max(1) == -np.inf
        logs[stuck, EOS] = end[stuck]
    return logs


def _chosen(state: State, rows: np.ndarray, own: set[str], beams: int) -> State:
    """State of the hypotheses at `rows`; what all of a source share is moved only if their sources change."""
    of, before = rows // beams, np.arange(len(next(iter(state.values())))) // beams
    same = np.array_equal(of, before)
    return {name: value if same and name not in own else value[rows] for name, value in state.items()}


def _top(values: np.ndarray, most: int) -> np.ndarray:
    """Places of the largest values of each row, the largest first."""
    most = min(most, values.shape[1])
    places = np.argpartition(-values, most - 1, axis=1)[:, :most]
    order = np.argsort(-np.take_along_axis(values, places, 1), axis=1, kind="stable")
    return np.take_along_axis(places, order, 1)


def _done(ended: list[Text], reach: float, width: int, wanted: int) -> bool:
    """True if enough texts have ended, or no beginning can be among the best any more."""
    if len(ended) >= width or reach == -np.inf:
        return True
    return len(ended) >= wanted and sorted(text.score for text in ended)[-wanted] >= reach


def _penalty(length: int, settings: dict[str, Any]) -> float:
    return ((5 + length) / 6) ** settings["length_penalty"]
