"""Image captioning: teacher forcing, self-critical sequence training, beam search."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from modules.contracts import GREEDY, Batch, ConfigError, Prediction
from modules.contracts.data_info import DataInfo
from modules.export import Graph, Preprocess
from modules.export.text import caption_graphs
from modules.insight.sentences import word_attention
from modules.insight.targets import Word
from modules.losses.text import doubly_stochastic, label_smoothed_cross_entropy, reinforce
from modules.metrics.captions import PROTOCOLS, CaptionScores
from modules.metrics.reward import Reward
from modules.text.decoder import DecoderFactory
from modules.text.encoder import EncoderOutput
from modules.text.hypotheses import Hypothesis
from modules.text.search import greedy, sample
from modules.text.show_attend_tell import ShowAttendTell
from modules.text.tokens import BOS, EOS, PAD
from modules.training.checkpoint_file import read_run
from modules.training.fingerprint import fingerprint
from tasks.text_generation import TextGeneration
from tasks.vision import VisionTask

PERPLEXITY = "exp of the mean cross-entropy per token of each image's first reference, its end included"


class Captioning(TextGeneration, VisionTask):
    """Image captioning: generate a sentence from a feature map of the backbone.

    Args:
        decoder: text decoder; null is ShowAttendTell. `RecurrentDecoder` with `attention: none` is the baseline without
            attention.
        feature_level: index of the backbone's map that the decoder attends to, 0 the finest and -1 the coarsest.
        coord_conv: append two channels of coordinates to the map, which words such as `left of` need.
        doubly_stochastic_weight: weight of doubly stochastic attention regularization, the penalty for attending to
            places of the image unevenly; null is 1 for ShowAttendTell, as its authors have it, and 0 for others.
        self_critical: a run of this task, or its .ckpt, to continue with self-critical sequence training: the reward is
            CIDEr-D of sampled captions relative to greedy ones (Rennie et al. 2017). Use a tenth of the learning rate.
        cache_features: compute the map of every training image once, and train from these; they are kept on disk, in
            the user's cache folder, as float16. Only with `frozen`, and with data that is not augmented.
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image", "target")
    monitor = f"val/cider{GREEDY}"
    mode = "max"
    feature_level: int = -1

    def __init__(
        self,
        # null: filled-in arguments would stay when another class is chosen
        decoder: DecoderFactory | None = None,
        feature_level: int = -1,
        coord_conv: bool = False,
        doubly_stochastic_weight: float | None = None,
        self_critical: str | None = None,
        cache_features: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        channels = self.backbone.features.channels
        if not -len(channels) <= feature_level < len(channels):
            raise ConfigError(
                f"model.feature_level is {feature_level}, but {self.backbone.name} has {len(channels)} maps: 0 to "
                f"{len(channels) - 1}, or -1 for the coarsest"
            )
        if self_critical and self.weights:
            raise ConfigError("model.self_critical goes on from a run with its backbone: leave model.weights out")
        if cache_features and not self.frozen:
            raise ConfigError(
                "model.cache_features keeps what the backbone sees, which changes while it is trained: set "
                "model.frozen true"
            )
        self.feature_level, self.coord_conv = feature_level, coord_conv
        self.self_critical, self.cache_features = self_critical, cache_features
        self.train_used()
        self.decoder = (decoder or ShowAttendTell)(len(self.tokenizers[-1]), channels[feature_level] + 2 * coord_conv)
        self.doubly_stochastic_weight = self._weight(doubly_stochastic_weight)
        self.protocols = self.named(PROTOCOLS) | {"perplexity": PERPLEXITY}
        self.scores = nn.ModuleDict({stage: CaptionScores() for stage in ("val", "test")})
        self.train()  # Lightning keeps the modes that it finds

    @property
    def named_networks(self) -> dict[str, nn.Module]:
        return super().named_networks | {type(self.decoder).__name__: self.decoder}

    @property
    def used(self) -> set[str]:
        return self.reach.maps[self.feature_level]

    def on_data(self, data: DataInfo, stage: str) -> None:
        super().on_data(data, stage)
        if stage != "fit":
            return
        if self.cache_features and data.cache_features is None:
            raise ConfigError(f"model.cache_features is true, but {data.name} cannot keep maps: set it to false")
        if self.self_critical:
            references = data.references()
            if references is None:
                raise ConfigError(f"model.self_critical needs captions to learn from, but {data.name} has none")
            self.reward = Reward(references)
            if not self.trainer.ckpt_path:  # a resumed run has its own
                self._go_on()

    def chance_loss(self) -> float | None:
        return None if self.self_critical or self.doubly_stochastic_weight else super().chance_loss()

    def on_fit_start(self) -> None:
        if not self.cache_features:
            return
        trainer, key = (
            self.trainer,
            f"{fingerprint(self.backbone.state_dict())} {self.feature_level} {self.trainer.precision}",
        )
        if trainer.is_global_zero:
            rank_zero_info(self.data.cache_features(self._seen, key))
        trainer.strategy.barrier()
        if not trainer.is_global_zero:
            self.data.cache_features(self._seen, key)

    def train(self, mode: bool = True) -> "Captioning":
        super().train(mode)
        if self.self_critical:  # without dropout, so that the sampled captions have the probabilities in the loss
            for part in self.decoder.modules():
                part.training = mode and isinstance(part, nn.RNNBase)  # which cuDNN differentiates in training only
        return self

    def memory(self, batch: Batch) -> EncoderOutput:
        seen = batch["map"].float() if "map" in batch else self.backbone(batch["image"])[self.feature_level]
        return EncoderOutput.from_map(seen, self.coord_conv)

    def references(self, batch: Batch) -> list[list[str]]:
        return batch["captions"]

    def costs(self, batch: Batch, memory: EncoderOutput) -> dict[str, Tensor]:
        if self.self_critical:
            return self._criticized(batch, memory)
        if not self.doubly_stochastic_weight:
            return super().costs(batch, memory)
        read, write = self.tokens_read(batch, memory), batch["target"][:, 1:]
        states, weights = self.decoder.attend(read, memory)
        words = label_smoothed_cross_entropy(states, self.decoder.output.weight, write, self.label_smoothing)
        uneven = doubly_stochastic(weights, write)
        return {
            "loss": words + self.doubly_stochastic_weight * uneven,
            "loss_cross_entropy": words,
            "loss_doubly_stochastic": uneven,
        }

    def graphs(self, preprocess: Preprocess) -> dict[str, Graph]:
        return caption_graphs(
            preprocess, self.backbone, self.feature_level, self.coord_conv, self.decoder, self.file_settings()
        )

    def attention(self, found: list[Hypothesis], memory: EncoderOutput, batch: Batch) -> Prediction:
        """Attention maps over the image, (T, h, w) each, as `TextGeneration.attention`."""
        answer = super().attention(found, memory, batch)
        if "attention" in answer:
            answer["attention"] = [w if w is None else w.unflatten(1, memory.shape) for w in answer["attention"]]
        return answer

    def attended(self, batch: Batch, targets: Sequence[Word]) -> Tensor | None:
        if not self.decoder.attends:
            return None
        memory = self.memory(batch)
        return word_attention(self.decoder, memory, targets).unflatten(1, memory.shape)

    def _check(self, batch: Batch) -> None:
        super()._check({"image": batch["map"], **batch} if "map" in batch else batch)

    @torch.no_grad()
    def _seen(self, image: Tensor) -> Tensor:
        """Feature map (B, C, h, w) of images uint8 (B, 3, H, W), on the host."""
        with self.trainer.precision_plugin.forward_context():
            return self.backbone(self.normalized(image.to(self.device)))[self.feature_level].half().cpu()

    def _weight(self, typed: float | None) -> float:
        """Weight of the attention regularization: as typed, else the decoder's default.

        Raises:
            ConfigError: it is negative, or the decoder has no attention.
        """
        if typed is None:
            return float(isinstance(self.decoder, ShowAttendTell))
        if typed < 0:
            raise ConfigError(f"model.doubly_stochastic_weight is {typed:g}, but a weight is 0 (off) or more")
        if typed and not self.decoder.attends:
            raise ConfigError(
                f"model.doubly_stochastic_weight is {typed:g}, but this {type(self.decoder).__name__} has no "
                "attention to regularize: set it to 0, or choose another model.decoder"
            )
        return typed

    def _go_on(self) -> None:
        """Load all weights of the run that self-critical training starts from.

        Raises:
            ConfigError: it is of another task, of other settings, or has another vocabulary.
        """
        checkpoint = read_run(self.self_critical)
        if checkpoint.get("task") != type(self).__name__:
            task = checkpoint.get("task", "another program")
            raise ConfigError(f"model.self_critical {self.self_critical} is of {task}: give a run of Captioning")
        if checkpoint.get("hyper_parameters", {}).get("tokenizers") != [one.to_json() for one in self.tokenizers]:
            raise ConfigError(
                f"the data gives another vocabulary than model.self_critical {self.self_critical} has: give the data "
                "that it was trained on"
            )
        self.on_load_checkpoint(checkpoint)
        self.load_state_dict(checkpoint["state_dict"])
        rank_zero_info(f"all weights from {self.self_critical}, epoch {checkpoint['epoch'] + 1}")

    def _criticized(self, batch: Batch, memory: EncoderOutput) -> dict[str, Tensor]:
        """Self-critical loss: REINFORCE with the reward of greedy captions as the baseline."""
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
