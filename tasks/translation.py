"""Machine translation with encoder and decoder."""

from typing import ClassVar

from torch import nn

from modules.contracts import GREEDY, Batch, ConfigError, Prediction
from modules.export import Graph, Preprocess
from modules.export.text import source_graphs
from modules.metrics.scripts import Tokenize
from modules.metrics.translation import TranslationScores, protocols
from modules.text.decoder import DecoderFactory, EncoderFactory, tie
from modules.text.encoder import EncoderOutput
from modules.text.hypotheses import Hypothesis
from modules.text.tokens import PAD
from modules.text.transformer import TransformerDecoder, TransformerEncoder
from tasks.text_generation import TextGeneration


class Translation(TextGeneration):
    """Machine translation: sequence-to-sequence with an encoder and a decoder.

    Args:
        encoder: text encoder; null is a TransformerEncoder.
        decoder: text decoder; null is a TransformerDecoder.
        shared: whether both languages have one embedding, if they have one vocabulary (`data.shared_vocab`).
        tokenize: sacreBLEU's tokenizer; null takes that of the script of the data's targets: 13a, or zh, ja-mecab,
            ko-mecab or char for those without spaces.
        lowercase: whether sacreBLEU ignores case.
    """

    required_keys: ClassVar[tuple[str, ...]] = ("source", "target")
    monitor = f"val/bleu{GREEDY}"
    mode = "max"

    def __init__(
        self,
        # null: filled-in arguments would stay when another class is chosen
        encoder: EncoderFactory | None = None,
        decoder: DecoderFactory | None = None,
        shared: bool = True,
        tokenize: Tokenize | None = None,
        lowercase: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if self.optim.scale_lr:
            raise ConfigError("optim.scale_lr counts samples, but texts come in batches of tokens: set optim.lr itself")
        first, last = self.tokenizers[0], self.tokenizers[-1]
        self.encoder = (encoder or TransformerEncoder)(len(first))
        self.decoder = (decoder or TransformerDecoder)(len(last), self.encoder.width)
        if shared and first == last:
            tie(self.encoder, self.decoder)
        self.bleu = {"tokenize": tokenize or "13a", "lowercase": lowercase}
        self.protocols = self.named(protocols(**self.bleu))
        self.scores = nn.ModuleDict({stage: TranslationScores(**self.bleu) for stage in ("val", "test")})

    @property
    def named_networks(self) -> dict[str, nn.Module]:
        return {type(part).__name__: part for part in (self.encoder, self.decoder)}

    def memory(self, batch: Batch) -> EncoderOutput:
        return self.encoder(batch["source"])

    def references(self, batch: Batch) -> list[str]:
        return batch["target_text"]

    def graphs(self, preprocess: Preprocess) -> dict[str, Graph]:
        settings = self.file_settings()
        return source_graphs(self.encoder, self.decoder, settings, self.search.max_length)

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        answer = super().predict_step(batch, index)
        for name in answer.keys() & {"text", "alternatives"}:  # what is empty stays empty
            answer[name] = [
                text if given else type(text)() for text, given in zip(answer[name], batch["source_text"], strict=True)
            ]
        return answer

    def attention(self, found: list[Hypothesis], memory: EncoderOutput, batch: Batch) -> Prediction:
        rows = zip(batch["source"].tolist(), (batch["source"] != PAD).sum(1).tolist(), strict=True)
        pieces = [self.tokenizers[0].pieces(row[:length]) for row, length in rows]
        return super().attention(found, memory, batch) | {"source_pieces": pieces}
