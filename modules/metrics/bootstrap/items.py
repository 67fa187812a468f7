"""Sufficient statistics of test items, from which the metrics of any resampled test set follow."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array

from modules.contracts import DataError, writing
from modules.metrics.bootstrap.formulas import FORMULAS


class Statistic:
    """Base of what is known of N items: metrics as a function of how often each item counts.

    Attributes:
        kind: name in files.
    """

    kind: ClassVar[str]

    def values(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Metrics (R,) by name of R test sets, in which item i occurs counts[r, i] times, (R, N)."""
        raise NotImplementedError

    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays that a file holds; they are the arguments of `of`."""
        raise NotImplementedError

    @classmethod
    def of(cls, **arrays: np.ndarray) -> "Statistic":
        """The inverse of `arrays`."""
        raise NotImplementedError


class Sums(Statistic):
    """Metrics that follow from sums over items, such as counts of right answers, of pixels or of n-grams.

    Args:
        formula: key of FORMULAS: sums (R, K) and names to metrics.
        names: of the metrics, or what else the formula takes.
        table: (N, K), the summands of each item; many of them may be 0.
    """

    kind = "sums"

    def __init__(self, formula: str, names: list[str], table: np.ndarray | csr_array):
        self.formula, self.names, self.table = formula, names, csr_array(table, dtype=np.float64)

    def values(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return FORMULAS[self.formula]((self.table.T @ counts.T).T, self.names)

    def arrays(self) -> dict[str, np.ndarray]:
        table = self.table
        return {
            "formula": np.array(self.formula),
            "names": np.array(self.names, dtype=str),
            "data": table.data,
            "indices": table.indices,
            "indptr": table.indptr,
            "shape": np.array(table.shape),
        }

    @classmethod
    def of(cls, **arrays: np.ndarray) -> "Sums":
        table = csr_array(tuple(arrays[k] for k in ("data", "indices", "indptr")), shape=tuple(arrays["shape"]))
        return cls(str(arrays["formula"]), arrays["names"].tolist(), table)


KINDS: dict[str, type[Statistic]] = {Sums.kind: Sums}


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
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise DataError(f"{path} holds no test items: {error}; a test of this version writes them") from error
