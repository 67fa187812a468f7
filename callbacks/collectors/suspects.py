"""Probable label errors of a split: probabilities of all samples, and the inputs of the least credible labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from callbacks.collectors.base import Highest, exchanged
from callbacks.writers.per_class import write_csv
from modules.metrics.label_errors import probable_label_errors

MAX_VALUES = 64_000_000  # probabilities of a process in memory, 256 MB; of larger splits none are looked for
MAX_SHARE = 0.5  # of the labels; a model that contradicts more is too weak to judge them


class Suspects:
    """Collect probable label errors by confident learning (Northcutt et al. 2021).

    The predictions must be out of sample: of validation or test.

    Args:
        keep: number of samples to keep for figures.
    """

    def __init__(self, keep: int) -> None:
        self.inputs = Highest(2 * keep)  # some of the least credible labels are no errors
        self.keep = keep
        self.found: np.ndarray | None = None  # indices into the split, the least credible label first
        self._batches: dict[int, tuple[list[str], Tensor, Tensor]] = {}  # by first sample: ids, labels, probabilities
        self._room = MAX_VALUES

    def update(self, ids: list[str], scores: Tensor, rows: dict[str, Tensor], first: int) -> None:
        """Add a batch without synchronizing: ids, probabilities (B, C), and the rows of the collector."""
        true, predicted = rows["true"], rows["predicted"]
        own = scores.float().gather(1, true[:, None]).squeeze(1)
        position = first + torch.arange(len(ids), device=true.device)
        self.inputs.update(torch.where(predicted != true, -own, -torch.inf), {**rows, "position": position})
        self._room -= scores.numel()
        if self._room < 0:
            self._batches.clear()
        else:
            labels, scores = (part.to("cpu", non_blocking=True) for part in (true, scores.float()))
            self._batches[first] = ids, labels, scores

    def gather(self) -> None:
        """Judge the labels of all processes; every process must call it."""
        self.inputs.gather()  # waits for the device
        parts = exchanged((self._room >= 0, self._batches))
        self._batches = {}
        batches = sorted((first, *batch) for _, part in parts for first, batch in part.items())
        if not batches or not all(whole for whole, _ in parts):
            return
        firsts, ids, labels, scores = zip(*batches, strict=True)
        self.ids = [name for names in ids for name in names]
        self.positions = np.concatenate(
            [first + np.arange(len(names)) for first, names in zip(firsts, ids, strict=True)]
        )
        self.labels, self.scores = torch.cat(labels).numpy(), torch.cat(scores).numpy()
        self.found = probable_label_errors(self.scores, self.labels)

    @property
    def count(self) -> int:
        """Number of probable errors to show."""
        return 0 if self.found is None else credible(len(self.found), len(self.labels))

    def write(self, path: Path, classes: list[str]) -> None:
        """Write a CSV file with a row per probable error, the least credible label first."""
        if self.found is not None:
            write_suspects(path, self.found, self.ids, self.labels, self.scores, classes)

    def kept(self) -> dict[str, Tensor]:
        """Rows of the first probable errors whose inputs were kept."""
        rows = self.inputs.kept()
        errors = set(self.positions[self.found].tolist())
        chosen = [i for i, position in enumerate(rows["position"].tolist()) if position in errors][: self.keep]
        return {name: row[chosen] for name, row in rows.items()}


def credible(errors: int, labels: int) -> int:
    """Number of probable errors to show; 0 where the model is too weak to judge, though the file lists them."""
    return 0 if errors > MAX_SHARE * labels else errors


def write_suspects(
    path: Path, found: np.ndarray, ids: Sequence[str], labels: np.ndarray, scores: np.ndarray, classes: Sequence[str]
) -> None:
    """Write a CSV file with a row per probable label error.

    Args:
        path: of the file.
        found: indices of the errors, the least credible label first.
        ids: of all N samples.
        labels: given labels int (N,), 0..C-1.
        scores: probabilities (N, C).
        classes: names of the C classes.
    """
    rows = [
        (ids[i], classes[given], classes[suggested], float(scores[i, given]), float(scores[i, suggested]))
        for i in found
        for given, suggested in [(labels[i], scores[i].argmax())]
    ]
    write_csv(path, [["path", "given", "suggested", "p(given)", "p(suggested)"], *rows])
