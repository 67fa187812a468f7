"""Test items of a run, in memory and in a file."""

from pathlib import Path
from typing import Any

import numpy as np

from modules.contracts import DataError, writing
from modules.metrics.bootstrap.consensus import Consensus
from modules.metrics.bootstrap.objects import Objects
from modules.metrics.bootstrap.statistic import Statistic, Sums
from modules.metrics.bootstrap.tags import Rankings

KINDS: dict[str, type[Statistic]] = {one.kind: one for one in (Sums, Objects, Consensus, Rankings)}


class Items:
    """Test items of one run: their ids and their statistics.

    Args:
        ids: str (N,), as the data names them.
        statistics: of these items, in this order.
    """

    def __init__(self, ids: np.ndarray, statistics: list[Statistic]):
        self.ids, self.statistics = ids, statistics

    def values(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Metrics (R,) by name of R test sets, in which item i occurs counts[r, i] times, int64 (R, N)."""
        return {name: value for one in self.statistics for name, value in one.values(counts).items()}

    @property
    def shares(self) -> set[str]:
        """Names of metrics that are shares of items."""
        return {name for one in self.statistics for name in one.shares}

    def save(self, path: Path) -> None:
        """Write a compressed .npz file of plain arrays."""
        arrays: dict[str, Any] = {"ids": self.ids, "kinds": np.array([one.kind for one in self.statistics])}
        for i, one in enumerate(self.statistics):
            arrays |= {f"{i}.{name}": array for name, array in one.arrays().items()}
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"{path.name}.tmp")
            with partial.open("wb") as file:  # an open file, because a name without the ending .npz would get one
                np.savez_compressed(file, **arrays)
            partial.replace(path)


def load(path: Path) -> Items:
    """Read the items that a test left.

    Raises:
        DataError: there is no such file, or it is no file of test items.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        found = []
        for i, kind in enumerate(arrays["kinds"].tolist()):
            prefix = f"{i}."
            own = {k.removeprefix(prefix): array for k, array in arrays.items() if k.startswith(prefix)}
            found.append(KINDS[kind].of(**own))
        return Items(arrays["ids"], found)
    except Exception as error:  # a damaged archive raises dozens of types
        raise DataError(f"{path} holds no whole test items ({' '.join(str(error).split())}): test again") from error
