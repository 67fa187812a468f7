"""Temporal fusion of the frames of a clip."""

from functools import partial
from typing import Literal

from modules.contracts import FusionFactory
from modules.temporal.attention import Attention
from modules.temporal.early import Early
from modules.temporal.frames import Concat, Max, Mean, Single
from modules.temporal.inflate import Inflate
from modules.temporal.recurrent import Recurrent
from modules.temporal.slow import Slow

__all__ = [
    "FUSIONS",
    "Attention",
    "Concat",
    "Early",
    "Inflate",
    "Kind",
    "Max",
    "Mean",
    "Recurrent",
    "Single",
    "Slow",
]

Kind = Literal["single", "mean", "max", "concat", "early", "slow", "lstm", "gru", "attention", "inflate"]
FUSIONS: dict[Kind, FusionFactory] = {
    "single": Single,
    "mean": Mean,
    "max": Max,
    "concat": Concat,
    "early": Early,
    "slow": Slow,
    "lstm": partial(Recurrent, cell="lstm"),
    "gru": partial(Recurrent, cell="gru"),
    "attention": Attention,
    "inflate": Inflate,
}
