"""Sufficient statistics of test items, from which the metrics of any resampled test set follow."""

from typing import ClassVar

import numpy as np
from scipy.sparse import csr_array

from modules.metrics.bootstrap.formulas import FORMULAS


class Statistic:
    """Base of what is known of N items: metrics as a function of how often each item counts.

    Attributes:
        kind: name in files.
    """

    kind: ClassVar[str]

    @property
    def shares(self) -> set[str]:
        """Names of metrics that are shares of items, each of which is right or wrong."""
        return set()

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
        names: of the metrics.
        table: (N, K), the summands of each item; many of them may be 0.
    """

    kind = "sums"

    def __init__(self, formula: str, names: list[str], table: np.ndarray | csr_array):
        self.formula, self.names, self.table = formula, names, csr_array(table, dtype=np.float64)

    @property
    def shares(self) -> set[str]:
        if self.formula != "means":
            return set()
        top, weight = np.split(self.table.toarray(), 2, 1)
        whole = (weight == 1).all(0) & np.isin(top, (0, 1)).all(0)
        return {name for name, one in zip(self.names, whole, strict=True) if one}

    def values(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return FORMULAS[self.formula]((self.table.T @ counts.T).T, self.names)

    def __len__(self) -> int:
        return len(self.table.indptr) - 1

    def arrays(self) -> dict[str, np.ndarray]:
        table = {name: getattr(self.table, name) for name in ("data", "indices", "indptr")}
        names = np.array(self.names, dtype=str)
        return {"formula": np.array(self.formula), "names": names, "shape": np.array(self.table.shape), **table}

    @classmethod
    def of(cls, **arrays: np.ndarray) -> "Sums":
        table = csr_array(tuple(arrays[k] for k in ("data", "indices", "indptr")), shape=tuple(arrays["shape"]))
        return cls(str(arrays["formula"]), arrays["names"].tolist(), table)
