"""Fusions: how the frames of a clip come together."""

from functools import partial
from typing import Literal

from modules.contracts import FusionFactory
from modules.fusion.attention import Attention
from modules.fusion.early import Early
from modules.fusion.frames import Concat, Max, Mean, Single
from modules.fusion.inflate import Inflate
from modules.fusion.recurrent import Recurrent
from modules.fusion.slow import Slow

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
