"""CIDEr-D of resampled images, with the document frequencies of the resampled references."""

import numpy as np
from scipy.sparse import csr_array

from modules.metrics.bootstrap.statistic import Statistic

COLUMNS = 32  # resamples at once


class Consensus(Statistic):
    """CIDEr-D (Vedantam et al. 2015) of N captions with P references, from counts of G n-grams.

    An image that occurs several times counts as often, in the mean and in the frequencies: as in a set that holds it
    several times.

    Args:
        said: (N, G), n-grams of the captions.
        true: (P, G), n-grams of the references.
        order: int64 (G,), length of each n-gram less one.
        image: int64 (P,), the item of each reference.
    """

    kind = "consensus"

    def __init__(self, said: csr_array, true: csr_array, order: np.ndarray, image: np.ndarray):
        self.said, self.true, self.order, self.image = said, true, order, image

    def arrays(self) -> dict[str, np.ndarray]:
        parts = {"order": self.order, "image": self.image}
        for name, table in (("said", self.said), ("true", self.true)):
            parts |= {f"{name}_{part}": getattr(table, part) for part in ("data", "indices", "indptr")}
        return parts

    @classmethod
    def of(cls, **arrays: np.ndarray) -> "Consensus":
        order, image = arrays["order"], arrays["image"]
        said, true = (
            csr_array(
                tuple(arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr")),
                shape=(len(arrays[f"{name}_indptr"]) - 1, len(order)),
            )
            for name in ("said", "true")
        )
        return cls(said, true, order, image)

    def values(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        said, true, image, images = self.said, self.true, self.image, counts.shape[1]
        owner = csr_array((np.ones(len(image)), (image, np.arange(len(image)))), shape=(images, len(image)))
        known = (owner @ true > 0).astype(np.float64).T  # (G, N), n-grams of each image's references
        written = csr_array(said[image])
        tables = [self._by_order(table) for table in (written.minimum(true).multiply(true), said**2, true**2)]
        words = [np.asarray(csr_array(table[:, self.order == 1]).sum(1)) for table in (said, true)]  # pairs of words
        penalty = np.exp(-((words[0][image] - words[1]) ** 2) / 72)
        weight = 10 / owner.sum(1) / 4
        found = []
        for first in range(0, len(counts), COLUMNS):
            block = counts[first : first + COLUMNS].T.astype(np.float64)
            squares = np.log(block.sum(0) / np.maximum(1, known @ block)) ** 2
            dot, own, other = ((table @ squares).reshape(4, -1, block.shape[1]) for table in tables)
            norms = np.sqrt(own[:, image] * other)
            alike = np.where(norms > 0, dot / np.where(norms > 0, norms, 1), 0).sum(0) * penalty[:, None]
            found.append(((owner @ alike) * weight[:, None] * block).sum(0) / block.sum(0))
        return {"cider": np.concatenate(found)}

    def _by_order(self, table: csr_array) -> csr_array:
        """Rows of a table (M, G) split by the length of the n-grams: (4 M, G)."""
        rows, length = table.tocoo(), len(table.indptr) - 1
        place = self.order[rows.col] * length + rows.row
        return csr_array((rows.data, (place, rows.col)), shape=(4 * length, len(self.order)), dtype=np.float64)
