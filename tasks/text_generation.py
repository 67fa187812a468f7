"""Base of text generation tasks: training by teacher forcing, evaluation by beam search."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from modules.contracts import GREEDY, Batch, ConfigError, Prediction, check_range
from modules.export.text import check_search
from modules.insight.targets import Word, find_words, word_score
from modules.losses.text import label_smoothed_cross_entropy
from modules.metrics.bootstrap import Statistic, Sums
from modules.metrics.sentence_metric import Corpus
from modules.metrics.translation import Perplexity, token_entropy
from modules.text.decoder import Decoder
from modules.text.encoder import EncoderOutput
from modules.text.search import Hypothesis, Search
from modules.text.tokenizer import Tokenizer
from modules.text.tokens import BOS, PAD
from tasks.base import Stage, Task


class TextGeneration(Task):
    """Base of text generation; a subclass provides the encoder output and the text metrics.

    Args:
        tokenizers: vocabularies as `Tokenizer.to_json` gives them, the last of them that of the text; null takes the
            data's.
        label_smoothing: share of the probability that training spreads evenly over the vocabulary, 0..1.
        teacher_forcing: share of the tokens of a target that the decoder reads in training, 0..1. The others are those
            that it held most probable there itself, as when it generates (scheduled sampling, Bengio et al. 2015);
            they come from a first pass over the target (Mihaylova and Martins 2019), which doubles the decoder's time.
        search: decoding in validation, test and prediction (greedy, beam search, sampling). Between the epochs of a
            training, decoding is greedy, and its metrics end in `_greedy`.
    """

    fallback = "val/perplexity"
    unfinished = "share of texts that reached model.search.max_length before their end"
    decoder: Decoder
    scores: nn.ModuleDict
    """Text metrics of `val` and `test`; `full` enables the slow ones."""
    quick = True
    searched: str = ""
    """Name of the search of the last evaluated texts, for figures."""
    bleu: ClassVar[dict[str, Any]] = {}
    """Settings of sacreBLEU, in tasks that use it."""

    def __init__(
        self,
        tokenizers: list[str] | None = None,
        label_smoothing: float = 0.1,
        teacher_forcing: float = 1.0,
        search: Search = Search(),
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not tokenizers:
            raise ConfigError(f"{type(self).__name__} needs tokenizers: from the data, or as model.tokenizers")
        if not 0 <= label_smoothing < 1:
            raise ConfigError(
                f"model.label_smoothing is {label_smoothing:g}, but it is a share of the probability, 0 to below 1"
            )
        self.tokenizers = [Tokenizer.from_json(text) for text in tokenizers]
        check_range("model.teacher_forcing", teacher_forcing, high=1)
        self.label_smoothing, self.teacher_forcing = label_smoothing, teacher_forcing
        self.search_by(search)
        self.perplexity = nn.ModuleDict({"val": Perplexity(PAD), "test": Perplexity(PAD)})

    def search_by(self, search: Search) -> None:
        """Set the search of texts."""
        self.search = search
        self.greedy = replace(search, num_beams=1, num_return_sequences=1, temperature=0.0, top_k=0, top_p=1.0)

    def memory(self, batch: Batch) -> EncoderOutput:
        """Encoder output of a batch."""
        raise NotImplementedError

    def references(self, batch: Batch) -> list[str] | list[list[str]]:
        """Reference texts of a batch."""
        raise NotImplementedError

    def chance_loss(self) -> float | None:
        return math.log(len(self.tokenizers[-1]))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        costs = self.costs(batch, self.memory(batch))
        self.log_step(costs)
        return costs["loss"]

    def costs(self, batch: Batch, memory: EncoderOutput) -> dict[str, Tensor]:
        """Compute the `loss` of a batch, and other scalars to log."""
        read, write = self.tokens_read(batch, memory), batch["target"][:, 1:]
        states = self.decoder.states(read, memory)
        return {"loss": label_smoothed_cross_entropy(states, self.decoder.output.weight, write, self.label_smoothing)}

    def tokens_read(self, batch: Batch, memory: EncoderOutput) -> Tensor:
        """Tokens (B, T) that the decoder reads in training: the target's, and its own as `teacher_forcing` says."""
        read = batch["target"][:, :-1]
        if self.teacher_forcing == 1:
            return read
        with torch.no_grad():
            said = self.decoder(read, memory)[:, :-1].argmax(2)  # for the places behind BOS
        own = (torch.rand(said.shape, device=said.device) >= self.teacher_forcing) & (read[:, 1:] != PAD)
        return torch.cat([read[:, :1], torch.where(own, said, read[:, 1:])], 1)

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        return self.written(self.search(self.decoder, self.memory(batch)))

    def file_settings(self) -> dict[str, Any]:
        """Settings of an exported file: those of its search, and the vocabularies."""
        check_search(self.search)
        return {"search": asdict(self.search), "tokenizers": [one.to_json() for one in self.tokenizers]}

    def score(self, prediction: Prediction, batch: Batch, stage: Stage) -> Prediction:
        """Update the metrics of texts; perplexity needs the probabilities, which predictions do not have."""
        self.searched = self.search.name
        self.scores[stage].update(prediction["text"], self.references(batch))
        cut = torch.tensor([not finished for finished in prediction["finished"]])
        self.log_mean(stage, {"unfinished": cut.float().mean()}, len(cut))
        if stage == "test":
            self.records.add(stage, unfinished=cut)
        return prediction

    def eval_step(self, batch: Batch, index: int, stage: Stage) -> Prediction:
        memory, target, quick = self.memory(batch), batch["target"], self._greedily(stage)
        self.searched = (self.greedy if quick else self.search).name
        logits = self.decoder(target[:, :-1], memory)
        self.perplexity[stage].update(logits, target[:, 1:])
        found = (self.greedy if quick else self.search)(self.decoder, memory)
        answer = self.written(found)
        self.scores[stage].update(answer["text"], self.references(batch))
        unfinished = sum(not best.finished for best, *_ in found) / len(found)
        self.log_mean(stage, {f"unfinished{GREEDY * quick}": unfinished}, len(found))
        if stage == "test":
            cut = torch.tensor([not best.finished for best, *_ in found])
            self.records.add(stage, unfinished=cut, perplexity=token_entropy(logits, target[:, 1:], PAD))
        return answer | self.attention([best for best, *_ in found], memory, batch)

    def on_eval_epoch_end(self, stage: Stage) -> None:
        scores, quick = self.scores[stage], self._greedily(stage)
        scores.set_full(not quick)
        found = {f"{name}{GREEDY * quick}": value for name, value in scores.compute().items()}
        perplexity: Any = self.perplexity[stage]
        if not self.answered:
            found["perplexity"] = perplexity.compute()
        self.log_metrics({f"{stage}/{name}": value for name, value in found.items()})
        scores.reset()
        perplexity.reset()

    def statistics(self, columns: dict[str, np.ndarray]) -> list[Statistic]:
        rest = {name: column for name, column in columns.items() if name != "perplexity"}
        entropy = [Sums("perplexity", ["perplexity"], columns["perplexity"])] if "perplexity" in columns else []
        return [*super().statistics(rest), *entropy, *cast(Corpus, self.scores["test"]).statistics]

    def named(self, protocols: dict[str, str]) -> dict[str, str]:
        """Protocols of the metrics with the configured search, and of the same metrics with greedy search."""
        protocols = protocols | {"unfinished": self.unfinished}
        quick = {f"{name}{GREEDY}": f"greedy search; {how}" for name, how in protocols.items() if name != "perplexity"}
        return protocols | quick

    def _greedily(self, stage: Stage) -> bool:
        return stage == "val" and self.trainer.state.fn == "fit"

    def targets(self, batch: Batch, wanted: str | None = None) -> list[Word | None]:
        """See `Task`: a word of the generated text, where it has that; the longest one by default."""
        texts = [best.tokens for best, *_ in self.search(self.decoder, self.memory(batch))]
        spans = find_words([self.tokenizers[-1].pieces(text) for text in texts], wanted)
        return [None if span is None else Word(text, *span) for text, span in zip(texts, spans, strict=True)]

    def target_score(self, batch: Batch, targets: Sequence[Word]) -> Tensor:
        return word_score(self.decoder, self.memory(batch), targets)

    def written(self, found: list[list[Hypothesis]]) -> Prediction:
        """Texts of the best hypotheses, flags `finished`, log-probabilities, and alternatives if there are several."""
        tokenizer = self.tokenizers[-1]
        answer: Prediction = {
            "text": tokenizer.decode([best.tokens for best, *_ in found]),
            "finished": [best.finished for best, *_ in found],
            "log_probability": [best.log_probability for best, *_ in found],
        }
        if self.search.num_return_sequences > 1:
            answer["alternatives"] = [tokenizer.decode([one.tokens for one in several]) for several in found]
        return answer

    def attention(self, found: list[Hypothesis], memory: EncoderOutput, batch: Batch) -> Prediction:
        """Attention of generated tokens to the source: `attention`, (T, S) each, and `pieces`, T tokens each."""
        tokens = [torch.tensor([BOS, *one.tokens], device=self.device) for one in found]
        _, weights = self.decoder.attend(nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=PAD), memory)
        if weights is None:
            return {}
        lengths, places = [len(one.tokens) for one in found], (~memory.padding).sum(1).tolist()
        return {
            "attention": [w[:t, :s] if t else None for w, t, s in zip(weights, lengths, places, strict=True)],
            "pieces": [self.tokenizers[-1].pieces(one.tokens) for one in found],
        }
