"""Captions of images."""

from typing import ClassVar

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from modules.contracts import GREEDY, Batch, ConfigError, Prediction
from modules.losses.text import doubly_stochastic, label_smoothed_cross_entropy, reinforce
from modules.metrics.captions import PROTOCOLS, CaptionScores
from modules.metrics.reward import Reward
from modules.text.decoder import DecoderFactory
from modules.text.hypotheses import Hypothesis
from modules.text.memory import Memory
from modules.text.search import greedy, sample
from modules.text.show_attend_tell import ShowAttendTell
from modules.text.tokens import BOS, EOS, PAD
from modules.transfer import fingerprint, read_run
from tasks.vision import VisionTask
from tasks.writing import Writing

PERPLEXITY = "exp of the mean cross-entropy per token of each image's first reference, its end included"


class Captioning(Writing, VisionTask):
    """Sentences about images: a decoder writes about one of the backbone's maps.

    Args:
        decoder: writes; null is ShowAttendTell. `RecurrentDecoder` with `attention: none` is the baseline that does not
            look at places.
        level: the backbone's map that is looked at, 0 the finest and -1 the coarsest.
        coordinates: whether the decoder is told where each place lies, as words such as `left of` need.
        regularizer: weight of the penalty for looking at places of the image unevenly (`doubly_stochastic`); null is
            1 for ShowAttendTell, as its authors have it, and 0 for others.
        self_critical: a run of this task, or its .ckpt, to go on from with another aim: that captions drawn at random
            have a higher CIDEr-D than the likeliest ones (Rennie et al. 2017). Learning rates are about a tenth then.
        stored: compute the map of every training image once, and train from these; they are kept on disk, in the
            user's cache folder, as float16. Only with `frozen`, and with data that is not augmented.
    """

    needs: ClassVar[tuple[str, ...]] = ("image", "target")
    monitor = f"val/cider{GREEDY}"
    mode = "max"
    level: int = -1

    def __init__(
        self,
        # null: filled-in arguments would stay when another class is chosen
        decoder: DecoderFactory | None = None,
        level: int = -1,
        coordinates: bool = False,
        regularizer: float | None = None,
        self_critical: str | None = None,
        stored: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        channels = self.backbone.features.channels
        if not -len(channels) <= level < len(channels):
            raise ConfigError(
                f"model.level is {level}, but {self.backbone.name} has {len(channels)} maps: 0 to {len(channels) - 1}, "
                "or -1 for the coarsest"
            )
        if self_critical and self.weights:
            raise ConfigError("model.self_critical goes on from a run with its backbone: leave model.weights out")
        if stored and not self.frozen:
            raise ConfigError(
                "model.stored keeps what the backbone sees, which changes while it is trained: set model.frozen true"
            )
        self.level, self.coordinates, self.self_critical, self.stored = level, coordinates, self_critical, stored
        self.train_used()
        self.decoder = (decoder or ShowAttendTell)(len(self.tokenizers[-1]), channels[level] + 2 * coordinates)
        self.regularizer = self._weight(regularizer)
        self.protocols = self.named(PROTOCOLS) | {"perplexity": PERPLEXITY}
        self.scores = nn.ModuleDict({stage: CaptionScores() for stage in ("val", "test")})
        self.train()  # Lightning keeps the modes that it finds

    @property
    def parts(self) -> dict[str, nn.Module]:
        return super().parts | {type(self.decoder).__name__: self.decoder}

    @property
    def used(self) -> set[str]:
        return self.reach.maps[self.level]

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and self.self_critical:
            self.reward = Reward(self.trainer.datamodule.references("train"))
            if not self.trainer.ckpt_path:  # a resumed run has its own
                self._go_on()

    def on_fit_start(self) -> None:
        if not self.stored:
            return
        trainer, key = self.trainer, f"{fingerprint(self.backbone)} {self.level} {self.trainer.precision}"
        if trainer.is_global_zero:
            rank_zero_info(trainer.datamodule.store(self._seen, key))
        trainer.strategy.barrier()
        if not trainer.is_global_zero:
            trainer.datamodule.store(self._seen, key)

    def train(self, mode: bool = True) -> "Captioning":
        super().train(mode)
        if self.self_critical:  # without dropout: what is rewarded is what was drawn
            for part in self.decoder.modules():
                part.training = mode and isinstance(part, nn.RNNBase)  # which cuDNN differentiates in training only
        return self

    def memory(self, batch: Batch) -> Memory:
        seen = batch["map"].float() if "map" in batch else self.backbone(batch["image"])[self.level]
        return Memory.from_map(seen, self.coordinates)

    def references(self, batch: Batch) -> list[list[str]]:
        return batch["captions"]

    def costs(self, batch: Batch, memory: Memory) -> dict[str, Tensor]:
        if self.self_critical:
            return self._criticized(batch, memory)
        if not self.regularizer:
            return super().costs(batch, memory)
        read, write = batch["target"][:, :-1], batch["target"][:, 1:]
        states, weights = self.decoder.attend(read, memory)
        words = label_smoothed_cross_entropy(states, self.decoder.output.weight, write, self.smoothing)
        uneven = doubly_stochastic(weights, write)
        return {"loss": words + self.regularizer * uneven, "words": words, "unevenness": uneven}

    def attention(self, found: list[Hypothesis], memory: Memory, batch: Batch) -> Prediction:
        """As of `Writing`, but of each (T, h, w), where in the image."""
        answer = super().attention(found, memory, batch)
        if "attention" in answer:
            answer["attention"] = [w if w is None else w.unflatten(1, memory.shape) for w in answer["attention"]]
        return answer

    def _check(self, batch: Batch) -> None:
        super()._check({"image": batch["map"], **batch} if "map" in batch else batch)

    @torch.no_grad()
    def _seen(self, image: Tensor) -> Tensor:
        """The map (B, C, h, w) of images uint8 (B, 3, H, W), on the host."""
        with self.trainer.precision_plugin.forward_context():
            return self.backbone(self.normalized(image.to(self.device)))[self.level].half().cpu()

    def _weight(self, regularizer: float | None) -> float:
        """Of the regularizer.

        Raises:
            ConfigError: it is negative, or the decoder has no attention.
        """
        if regularizer is None:
            return float(isinstance(self.decoder, ShowAttendTell))
        if regularizer < 0:
            raise ConfigError(f"model.regularizer is {regularizer:g}, but a weight is 0 (off) or more")
        if regularizer and not self.decoder.attends:
            raise ConfigError(
                f"model.regularizer is {regularizer:g}, but this {type(self.decoder).__name__} has no attention to "
                "regularize: set it to 0, or choose another model.decoder"
            )
        return regularizer

    def _go_on(self) -> None:
        """Takes all weights of the run that self-critical training begins with.

        Raises:
            ConfigError: it is of another task, of other settings, or has another vocabulary.
        """
        checkpoint = read_run(self.self_critical)
        if checkpoint.get("task") != type(self).__name__:
            task = checkpoint.get("task", "another program")
            raise ConfigError(f"model.self_critical {self.self_critical} is of {task}: give a run of Captioning")
        if checkpoint["hyper_parameters"]["tokenizers"] != [one.to_json() for one in self.tokenizers]:
            raise ConfigError(
                f"the data gives another vocabulary than model.self_critical {self.self_critical} has: give the data "
                "that it was trained on"
            )
        self.on_load_checkpoint(checkpoint)
        self.load_state_dict(checkpoint["state_dict"])
        rank_zero_info(f"all weights from {self.self_critical}, epoch {checkpoint['epoch']}")

    def _criticized(self, batch: Batch, memory: Memory) -> dict[str, Tensor]:
        """The loss of captions that are drawn, compared with the likeliest ones."""
        limits = self.search.limits
        drawn = [one for (one,) in sample(self.decoder, memory, limits)]
        worth, usual = (self._worth(found, batch) for found in (drawn, greedy(self.decoder, memory, limits)))
        rows = [torch.tensor([BOS, *one.tokens, *[EOS] * one.finished], device=self.device) for one in drawn]
        target = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
        loss = reinforce(self.decoder(target[:, :-1], memory), target[:, 1:], worth - usual)
        return {"loss": loss, "reward": worth.mean(), "greedy_reward": usual.mean()}

    def _worth(self, found: list[Hypothesis], batch: Batch) -> Tensor:
        """CIDEr-D of captions, (B,)."""
        texts = self.tokenizers[-1].decode([one.tokens for one in found])
        return self.reward(texts, [one.finished for one in found], self.references(batch)).to(self.device)
