"""Votes of the nearest neighbors: distance, weights and rule for ties, as `evaluate` is told."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from callbacks.knn import knn_predict
from modules.contracts import ConfigError
from modules.metrics.neighbors import Distance, Ties, majority, nearest

Vote = Literal["weighted", "majority"]

NAMES = {"cosine": "cosine distance", "l1": "L1 distance", "l2": "L2 distance"}
RULES = {
    "nearest": "ties to the nearest",
    "smallest": "ties to the first class",
    "shrink": "ties without the farthest",
}


class Voting(NamedTuple):
    """kNN vote; see the settings of `evaluate`."""

    distance: Distance
    temperature: float | None
    ties: Ties

    @property
    def words(self) -> str:
        """The vote for protocols."""
        if self.temperature is not None:
            return f"T {self.temperature:g}"
        return f"{NAMES[self.distance]}, majority vote, {RULES[self.ties]}"

    def predict(self, bank: Tensor, labels: Tensor, features: Tensor, ks: Sequence[int], classes: int) -> list[Tensor]:
        """Classes int64 (N,) of features (N, D) for each number k of neighbors in a bank (M, D) with labels (M,)."""
        if (temperature := self.temperature) is not None:
            return [knn_predict(bank, labels, features, k, temperature, classes) for k in ks]
        if not ks:
            return []
        _, rows = nearest(bank, features, max(ks), self.distance)
        return [majority(labels[rows[:, :k]], classes, self.ties) for k in ks]


def choose_voting(distance: Distance, vote: Vote | None, ties: Ties | None, temperature: float) -> Voting:
    """The vote that was asked for.

    Raises:
        ConfigError: weights of another distance than the cosine, or a rule for ties of weighted votes.
    """
    vote = vote or ("weighted" if distance == "cosine" and ties is None else "majority")
    if vote == "majority":
        return Voting(distance, None, ties or "nearest")
    if distance != "cosine":
        raise ConfigError(
            f"vote is weighted, by the cosine, but distance is {distance}: add --vote majority, or --distance cosine"
        )
    if ties is not None:
        raise ConfigError(f"ties is {ties}, but weighted votes are hardly ever equal: add --vote majority")
    return Voting(distance, temperature, "nearest")
