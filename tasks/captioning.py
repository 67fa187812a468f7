"""Captions of pictures."""

from typing import ClassVar

from torch import Tensor, nn

from modules.contracts import Batch, ConfigError, Prediction
from modules.losses.text import doubly_stochastic, label_smoothed_cross_entropy
from modules.metrics.captions import PROTOCOLS, CaptionScores
from modules.text.decoder import DecoderFactory
from modules.text.hypotheses import Hypothesis
from modules.text.memory import Memory
from modules.text.show_attend_tell import ShowAttendTell
from tasks.vision import VisionTask
from tasks.writing import Writing


class Captioning(Writing, VisionTask):
    """Sentences about pictures: a decoder writes about one of the backbone's maps.

    Args:
        decoder: writes; null is ShowAttendTell. `RecurrentDecoder` with `attention: none` is the baseline that does not
            look at places.
        level: the backbone's map that is looked at, 0 the finest and -1 the coarsest.
        regulariser: weight of the penalty for looking at places of the picture unevenly (`doubly_stochastic`); null is
            1 for ShowAttendTell, as its authors have it, and 0 for others.
    """

    needs: ClassVar[tuple[str, ...]] = ("image", "target")
    monitor = "val/cider"
    mode = "max"

    def __init__(
        self,
        decoder: DecoderFactory | None = None,
        level: int = -1,
        regulariser: float | None = None,
        **kwargs,
    ):
        super().__init__(decoder=decoder or ShowAttendTell, **kwargs)
        channels = self.backbone.features.channels
        if not -len(channels) <= level < len(channels):
            raise ConfigError(
                f"model.level is {level}, but {self.backbone.name} has {len(channels)} maps: 0 to {len(channels) - 1}, "
                "or -1 for the coarsest"
            )
        self.level = level
        self.decoder = self.make_decoder(len(self.tokenizers[-1]), channels[level])
        by_default = float(isinstance(self.decoder, ShowAttendTell))
        self.regulariser = by_default if regulariser is None else regulariser
        if self.regulariser < 0:
            raise ConfigError(f"model.regulariser is {self.regulariser:g}, but a weight is 0 (off) or more")
        if self.regulariser and not self.decoder.attends:
            raise ConfigError(
                f"model.regulariser is {self.regulariser:g}, but this {type(self.decoder).__name__} has no attention to "
                "regularise: set it to 0, or choose another model.decoder"
            )
        self.protocols = PROTOCOLS | {"unfinished": self.unfinished, "perplexity": PERPLEXITY}
        self.scores = nn.ModuleDict({stage: CaptionScores(full=stage == "test") for stage in ("val", "test")})

    @property
    def parts(self) -> dict[str, nn.Module]:
        return super().parts | {type(self.decoder).__name__: self.decoder}

    def memory(self, batch: Batch) -> Memory:
        return Memory.from_map(self.backbone(batch["image"])[self.level])

    def references(self, batch: Batch) -> list[list[str]]:
        return batch["captions"]

    def costs(self, batch: Batch, memory: Memory) -> dict[str, Tensor]:
        if not self.regulariser:
            return super().costs(batch, memory)
        read, write = batch["target"][:, :-1], batch["target"][:, 1:]
        states, weights = self.decoder.attend(read, memory)
        words = label_smoothed_cross_entropy(states, self.decoder.output.weight, write, self.smoothing)
        uneven = doubly_stochastic(weights, write)
        return {"loss": words + self.regulariser * uneven, "words": words, "unevenness": uneven}

    def attention(self, found: list[Hypothesis], memory: Memory, batch: Batch) -> Prediction:
        """As of `Writing`, but of each (T, h, w), where in the picture."""
        answer = super().attention(found, memory, batch)
        if "attention" in answer:
            answer["attention"] = [w if w is None else w.unflatten(1, memory.shape) for w in answer["attention"]]
        return answer
