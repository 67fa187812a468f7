"""Base of the machine translation data modules: vocabularies, token ids, batches by number of tokens."""

from typing import ClassVar, Literal, NamedTuple

import numpy as np
from torch.utils.data import DataLoader

from datamodules.base import Purpose, Split
from datamodules.setting_roles import Role
from datamodules.split_data import SplitData
from datamodules.text import text_statistics
from datamodules.text.batches import LengthBatches
from datamodules.text.bitext import Bitext, refused, swapped
from datamodules.text.encoded import EncodedPairs, Ids
from datamodules.text.vocabulary import checked, lacking, learned
from modules.contracts import Batch, ConfigError, DataError
from modules.metrics.scripts import Tokenize, tokenizer_of
from modules.text.tokenizer import Kind, Tokenizer


class Tokenizers(NamedTuple):
    """Tokenizers of source and target; the same object for both where they share one vocabulary."""

    source: Tokenizer
    target: Tokenizer


class TextData(SplitData):
    """Base of the data modules of sentence pairs.

    Lines without text, or with nothing but `@@`, are left out and listed in the run directory, blanks are normalized.

    Args:
        tokenizer: `bpe`, `wordpiece`, `words` or `characters`; trained on the training pairs, once for the same pairs.
        vocab_size: pieces at most; the texts may give fewer.
        shared_vocab: whether source and target share one vocabulary.
        max_length: pieces of a sentence at most, EOS not counted.
        overflow: what happens to longer training pairs: `drop` leaves them out, `cut` keeps their beginning. Both are
            counted. Other pairs are cut, never dropped, and judged by their whole reference.
        batch_tokens: tokens per device and step in training, padding included: sentences times the longest of them, on
            the side where that is more.
        batch_size: sentences per device and step in evaluation and prediction.
        strict: refuse texts that look swapped, cut into pieces, or foreign to the vocabulary of a checkpoint; false
            only warns.

    Attributes: `tokenizers`, and `tokenize`, which sacreBLEU splits targets by; both can be had before `setup`.
    """

    noun = "sentence pairs"
    remedy = "convert the file to UTF-8"
    unit = " tokens"

    roles: ClassVar[dict[str, Role]] = {
        "tokenizer": "input",
        "vocab_size": "input",
        "shared_vocab": "input",
        "max_length": "input",
        "overflow": "training",
        "batch_tokens": "loading",
        "strict": "loading",
    }

    def __init__(
        self,
        tokenizer: Kind = "bpe",
        vocab_size: int = 6000,
        shared_vocab: bool = True,
        max_length: int = 128,
        overflow: Literal["drop", "cut"] = "drop",
        batch_tokens: int = 2048,
        batch_size: int = 64,
        strict: bool = True,
        **kwargs,
    ):
        super().__init__(batch_size=batch_size, **kwargs)
        if max_length < 1 or batch_tokens < max_length + 1:
            raise ConfigError(
                f"data.max_length is {max_length} and data.batch_tokens {batch_tokens}: a batch holds at least one "
                f"sentence of that length and its end; set data.batch_tokens to {max(1, max_length) + 1} or more"
            )
        self.tokenizer, self.vocab_size, self.shared_vocab = tokenizer, vocab_size, shared_vocab
        self.max_length, self.overflow, self.batch_tokens = max_length, overflow, batch_tokens
        self.strict = strict
        self.encoded: dict[Split, EncodedPairs] = {}
        self.notes: list[str] = []  # lines of `describe` about encoding
        self.given = False  # the tokenizers, by `use`
        self._tokenizers: Tokenizers | None = None
        self._tokenize: tuple[Tokenize, str] | None = None
        self.lowercase = False  # case-insensitive BLEU

    @property
    def tokenize(self) -> Tokenize:
        """sacreBLEU's tokenizer: that set by `judge_by`, or else that of the script of the targets."""
        if self._tokenize is None:
            super().setup()
            source, rows = next(iter(self.splits.values()))
            self._tokenize = tokenizer_of(source.target[i] for i in rows) if source.target else ("13a", "")
        return self._tokenize[0]

    def judge_by(self, tokenize: Tokenize | None, lowercase: bool) -> None:
        """Set BLEU's tokenizer and case; null leaves the tokenizer to the script of the targets."""
        self._tokenize, self.lowercase = (tokenize, "as set") if tokenize else self._tokenize, lowercase

    @property
    def tokenizers(self) -> Tokenizers:
        """The tokenizers given by `use`, or else trained on the training pairs, or found in the cache."""
        if self._tokenizers is None:
            super().setup()
            if "train" not in self.splits:
                name = type(self).__name__
                raise DataError(f"{name} has no training pairs to learn a vocabulary from: set --ckpt_path")
            self._tokenizers = self._train()
        return self._tokenizers

    def use(self, *tokenizers: Tokenizer) -> None:
        """Use the tokenizers of a checkpoint, of source and target; to be called before `setup`.

        Raises:
            ConfigError: the checkpoint has only one.
        """
        if self.encoded:
            raise RuntimeError("the data is encoded already: call use before setup")
        self._tokenizers, self.given = Tokenizers(*checked(tokenizers, 2, self.noun)), True

    @property
    def per_step(self) -> int:
        return self.batch_tokens

    def broken(self, source: Bitext) -> dict[int, str]:
        return source.broken

    @staticmethod
    def collate(samples: Batch) -> Batch:
        """Return the batch: batches come whole from the data set."""
        return samples

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        if not self.encoded:
            self._check_directions()
            self.encoded = {split: self._encode(split) for split in self.splits}
            if self.trainer and self.trainer.is_global_zero:
                self.write_list("skipped.txt", self.skipped)

    def dataset(self, split: Split, purpose: Purpose) -> EncodedPairs | None:
        return self.encoded.get(split)

    def train_dataloader(self) -> DataLoader:
        data = self.encoded.get("train")
        if data is None:
            raise DataError(f"{type(self).__name__} has no training set here: use test, or give training files")
        sampler = self._by_length(data, self.seed, self.resume)
        if not len(sampler):
            raise DataError(
                f"{len(data):,} training pairs make fewer batches of {self.batch_tokens:,} tokens than there are "
                f"devices, {self._world()}: lower --data.batch_tokens"
            )
        return self._loader(data, sampler, batched=True)

    def describe(self) -> list[str]:
        return super().describe() + self.notes

    def about(self, split: Split) -> str:
        return text_statistics.pieces(self.encoded[split])

    def more(self) -> list[str]:
        source, target = self.tokenizers
        sides = {"shared": source} if source is target else {"source": source, "target": target}
        lines = text_statistics.vocabularies(sides, None if self.given else self.vocab_size)
        train, judged = self.encoded.get("train"), {s: d for s, d in self.encoded.items() if s != "train"}
        lines += text_statistics.blanks([source for source, _ in self.splits.values()])
        lines += dict.fromkeys(note for source, _ in self.splits.values() for note in source.notes)
        if train:
            batches = self._by_length(train, self.seed)
            lines += text_statistics.batches(batches, self.batch_tokens) + text_statistics.leaks(train, judged)
        if any(data.target for data in self.encoded.values()):
            tokenize, why = self.tokenize, self._tokenize[1]
            lines.append(f"BLEU by sacreBLEU's tokenizer {tokenize}" + (f" ({why})" if why else ""))
        return lines + text_statistics.copies(judged, self.tokenize, self.lowercase)

    def _readable(self, source: Bitext, broken: dict[int, str]) -> np.ndarray:
        rows, wrong = super()._readable(source, broken), source.unusable()
        kept = np.setdiff1d(rows, list(wrong))
        if not len(kept):
            raise DataError(f"not one pair of {source.names[0]} can be used, such as {next(iter(wrong.values()))}")
        self.skipped += wrong.values()
        return kept

    def _train(self) -> Tokenizers:
        pairs, rows = self.splits["train"]
        source, target = ([texts[i] for i in rows] for _, texts in pairs.sides())
        if self.shared_vocab:
            both = self._learned(source + target)
            return Tokenizers(both, both)
        return Tokenizers(self._learned(source), self._learned(target))

    def _learned(self, texts: list[str]) -> Tokenizer:
        return learned(texts, self.tokenizer, self.vocab_size)

    def _encode(self, split: Split) -> EncodedPairs:
        (pairs, rows), found = self.splits[split], []
        for tokenizer, (name, texts) in zip(self.tokenizers, pairs.sides(), strict=False):
            found.append(tokenizer.encode([texts[i] for i in rows]))
            self.notes += [f"{split}: {line}" for line in lacking(tokenizer, found[-1], name, self.given, self.strict)]
        fits = np.array([max(map(len, sides)) <= self.max_length for sides in zip(*found, strict=True)], bool)
        if split == "train" and self.overflow == "drop":
            self.skipped += [f"{pairs.id(i)} is longer than {self.max_length} pieces" for i in rows[~fits]]
            if not fits.any():
                raise ConfigError(
                    f"every training pair is longer than data.max_length, {self.max_length} pieces: raise it"
                )
            self.splits[split], found = (pairs, rows[fits]), [[ids[i] for i in np.flatnonzero(fits)] for ids in found]
        elif not fits.all():
            self.notes.append(f"{split}: {(~fits).sum():,} pairs cut to {self.max_length} pieces (data.max_length)")
        ids = [Ids.of(side, self.max_length) for side in found]
        cut = np.array([len(row) > self.max_length for row in found[0]], bool)
        return EncodedPairs(*self.splits[split], ids[0], ids[1] if len(ids) > 1 else None, cut)

    def _check_directions(self) -> None:
        if "train" in self.splits:
            train = self.splits["train"][0]
            for source, _ in self.splits.values():
                if source is not train and (sentence := swapped(train, source)):
                    self.notes.append(refused(sentence, self.strict))

    def _step(self) -> int:
        return self._world()  # the position counts batches

    def _by_length(self, data: EncodedPairs, seed: int | None, resume: tuple[int, int] = (0, 0)) -> LengthBatches:
        return LengthBatches(data.lengths, self.batch_tokens, None, seed, self._rank(), self._world(), resume)

    def _in_order(self, split: Split, purpose: Purpose, shared: bool = True) -> DataLoader | None:
        """A loader in order of length to evaluate, for less padding (`row` is a pair's place); else in order."""
        data = self.encoded.get(split)
        if data is None:
            return None
        lengths = data.lengths if purpose == "evaluate" else np.zeros(len(data), np.int64)
        rank, world = (self._rank(), self._world()) if shared else (0, 1)
        return self._loader(data, LengthBatches(lengths, None, self.batch_size, None, rank, world), batched=True)
