"""Variants of one training: the settings in which they differ, and the runs that repeat them."""

from typing import NamedTuple


class Variant(NamedTuple):
    """One combination of the settings that a comparison varies.

    Args:
        settings: name of each varied setting -> its value as typed; null for none.
        labels: the same settings -> their part of the variant's name, such as `lr=0.1`, or `none` for weights.
        reference: name of the variant that it is compared with; null for a reference.
    """

    settings: dict[str, str | None]
    labels: dict[str, str]
    reference: str | None = None

    @property
    def name(self) -> str:
        """Short, unique and fit for a folder: `lr=0.1,dropout=0`."""
        return ",".join(self.labels.values())


class Repeat(NamedTuple):
    """One repetition of every variant.

    Args:
        seed: of all random numbers.
        folds: of a k-fold cross-validation; 0 without.
        fold: that is held out, 0..folds-1.
    """

    seed: int
    folds: int = 0
    fold: int = 0

    @property
    def name(self) -> str:
        return f"seed{self.seed}" + (f"_fold{self.fold}" if self.folds else "")

    @property
    def words(self) -> str:
        """Name for sentences."""
        return f"seed {self.seed}" + (f", fold {self.fold}" if self.folds else "")

    @property
    def settings(self) -> dict[str, int]:
        """Settings of fit that differ from those of other repetitions."""
        folds = {"data.folds": self.folds, "data.held_out_fold": self.fold} if self.folds else {}
        return {"seed_everything": self.seed} | folds
