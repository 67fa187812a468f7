"""What all data modules of sentence pairs share: a vocabulary, ids, batches by tokens."""

from typing import Literal, NamedTuple

import numpy as np
import tokenizers as library
from torch.utils.data import DataLoader
from torchmetrics.functional.text import sacre_bleu_score

from datamodules.base import Purpose, Split
from datamodules.cache import cached, digest
from datamodules.split_data import SplitData
from datamodules.text.batches import LengthBatches
from datamodules.text.bitext import Bitext, check_direction, shared
from datamodules.text.encoded import EncodedPairs, Ids
from modules.contracts import Batch, ConfigError, DataError
from modules.text.tokenizer import Kind, Tokenizer

STRANGE = 0.5  # unknown pieces of a split up to this share


class Tokenizers(NamedTuple):
    """One for each side; the same object for both where the vocabulary is joint."""

    source: Tokenizer
    target: Tokenizer


class TextData(SplitData):
    """Base of the data modules of sentence pairs.

    Lines without text, or with nothing but `@@`, are left out and listed in the run directory, blanks are normalised.

    Args:
        tokenizer: `bpe`, `wordpiece`, `words` or `characters`; trained on the training pairs, once for the same pairs.
        vocabulary: pieces at most; the texts may give fewer.
        joint: whether source and target share one vocabulary.
        longest: pieces of a sentence at most, EOS not counted.
        too_long: what happens to longer training pairs: `drop` leaves them out, `cut` keeps their beginning. Both are
            counted. Other pairs are cut, never dropped, and judged by their whole reference.
        batch_tokens: tokens per device and step in training, padding included: sentences times the longest of them, on
            the side where that is more.
        batch_size: sentences per device and step in evaluation and prediction.

    Attributes: `tokenizers`, which can be had before `setup`.
    """

    noun = "sentence pairs"

    def __init__(
        self,
        tokenizer: Kind = "bpe",
        vocabulary: int = 6000,
        joint: bool = True,
        longest: int = 128,
        too_long: Literal["drop", "cut"] = "drop",
        batch_tokens: int = 2048,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if longest < 1 or batch_tokens < longest + 1:
            raise ConfigError(
                f"data.longest is {longest} and data.batch_tokens {batch_tokens}: a batch holds at least one sentence "
                f"of the longest and its end; set data.batch_tokens to {max(1, longest) + 1} or more"
            )
        self.tokenizer, self.vocabulary, self.joint = tokenizer, vocabulary, joint
        self.longest, self.too_long, self.batch_tokens = longest, too_long, batch_tokens
        self.encoded: dict[Split, EncodedPairs] = {}
        self.notes: list[str] = []  # what `describe` says of encoding
        self._tokenizers: Tokenizers | None = None

    @property
    def tokenizers(self) -> Tokenizers:
        """Those given by `use`, or else trained on the training pairs, or found in the cache."""
        if self._tokenizers is None:
            super().setup()
            if "train" not in self.splits:
                raise DataError(
                    f"{type(self).__name__} has no training pairs to learn a vocabulary from: give a checkpoint"
                )
            self._tokenizers = self._train()
        return self._tokenizers

    def use(self, source: Tokenizer, target: Tokenizer) -> None:
        """Takes the tokenizers of a checkpoint; before `setup`."""
        if self.encoded:
            raise RuntimeError("the data is encoded already: call use before setup")
        self._tokenizers = Tokenizers(source, target)

    def broken(self, source: Bitext) -> dict[int, str]:
        return source.broken

    def blame(self, first: str, more: str) -> str:
        return f"{first}{more}: convert the file to UTF-8, or set --data.on_error skip"

    @staticmethod
    def collate(samples: Batch) -> Batch:
        """Batches come whole from the data set."""
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
                f"{len(data):,} training pairs make fewer batches of {self.batch_tokens:,} tokens than there are devices, "
                f"{self._world()}: lower --data.batch_tokens"
            )
        return self._loader(data, sampler, whole=True)

    def describe(self) -> list[str]:
        return super().describe() + self.notes

    def about(self, split: Split) -> str:
        data, texts = self.encoded[split], []
        for name, ids in (("source", data.source), ("target", data.target)):
            if ids is not None:
                texts.append(
                    f"{name} {len(ids.tokens):,} pieces, {ids.lengths.mean():.1f} each, {ids.lengths.max()} at most"
                )
        return f" ({'; '.join(texts)})"

    def more(self) -> list[str]:
        lines = [*self._about_vocabulary(), *self._about_texts()]
        if "train" in self.encoded:
            sampler = self._by_length(self.encoded["train"], self.seed)
            lines.append(
                f"{len(sampler.ends):,} batches of up to {self.batch_tokens:,} tokens on a side, "
                f"{sampler.padding():.1%} of them padding"
            )
        judged = next(
            (split for split in ("val", "test") if split in self.encoded and self.encoded[split].target), None
        )
        if judged:
            lines.append(f"copying the source would have BLEU {self.copied(judged):.4f} on {judged}")
        return lines

    def copied(self, split: Split) -> float:
        """Corpus BLEU (0..1, sacreBLEU's 13a tokenizer, cased) of the source sentences, taken as translations."""
        pairs, rows = self.splits[split]
        source, target = ([texts[i] for i in rows] for _, texts in pairs.sides())
        compute = lambda: sacre_bleu_score(source, [[text] for text in target]).item()  # noqa: E731
        return cached("copied", digest([*source, *target]), compute)

    def _about_vocabulary(self) -> list[str]:
        source, target = self.tokenizers
        sides = {"joint": source} if source is target else {"source": source, "target": target}
        lines = []
        for name, found in sides.items():
            fewer = (
                f"; the texts give no more of the {self.vocabulary:,} asked for" if len(found) < self.vocabulary else ""
            )
            lines.append(f"{name} vocabulary: {len(found):,} pieces ({self.tokenizer}){fewer}")
        return lines

    def _about_texts(self) -> list[str]:
        lines = []
        files = {id(source): source for source, _ in self.splits.values()}
        if mended := sum(source.mended for source in files.values()):
            lines.append(f"blanks normalised in {mended:,} lines")
        if "train" in self.splits:
            train, rows = self.splits["train"]
            for split in ("val", "test"):
                if split in self.splits and (same := shared(train, rows, *self.splits[split])):
                    lines.append(f"{same:,} {split} pair{'s are' if same > 1 else ' is'} also in train")
        return lines

    def _readable(self, source: Bitext) -> np.ndarray:
        rows, wrong = super()._readable(source), source.unusable()
        kept = np.setdiff1d(rows, list(wrong))
        if not len(kept):
            raise DataError(f"not one pair of {source.names[0]} can be used, such as {next(iter(wrong.values()))}")
        self.skipped += wrong.values()
        return kept

    def _train(self) -> Tokenizers:
        pairs, rows = self.splits["train"]
        source, target = ([texts[i] for i in rows] for _, texts in pairs.sides())
        if self.joint:
            both = self._trained(source + target)
            return Tokenizers(both, both)
        return Tokenizers(self._trained(source), self._trained(target))

    def _trained(self, texts: list[str]) -> Tokenizer:
        key = digest([library.__version__, self.tokenizer, self.vocabulary, *texts])
        compute = lambda: Tokenizer.train(texts, self.tokenizer, self.vocabulary).to_json()  # noqa: E731
        return Tokenizer.from_json(cached("tokenizer", key, compute))

    def _encode(self, split: Split) -> EncodedPairs:
        (pairs, rows), found = self.splits[split], []
        for tokenizer, (name, texts) in zip(self.tokenizers, pairs.sides(), strict=False):
            found.append(tokenizer.encode([texts[i] for i in rows]))
            self._count_unknown(split, name, tokenizer, found[-1])
        fits = np.array([max(map(len, sides)) <= self.longest for sides in zip(*found, strict=True)], bool)
        if split == "train" and self.too_long == "drop":
            self.skipped += [f"{pairs.id(i)} is longer than {self.longest} pieces" for i in rows[~fits]]
            if not fits.any():
                raise ConfigError(f"every training pair is longer than data.longest, {self.longest} pieces: raise it")
            self.splits[split], found = (pairs, rows[fits]), [[ids[i] for i in np.flatnonzero(fits)] for ids in found]
        elif not fits.all():
            self.notes.append(f"{split}: {(~fits).sum():,} pairs cut to {self.longest} pieces (data.longest)")
        ids = [Ids.of(side, self.longest) for side in found]
        return EncodedPairs(*self.splits[split], ids[0], ids[1] if len(ids) > 1 else None)

    def _count_unknown(self, split: Split, name: str, tokenizer: Tokenizer, ids: list[list[int]]) -> None:
        unknown, total = tokenizer.unknown(ids), sum(map(len, ids))
        if unknown > STRANGE * total:
            raise DataError(
                f"the vocabulary lacks {unknown:,} of {total:,} pieces of {name}: it was made for other text; give the "
                f"data that the checkpoint was trained for, or train anew"
            )
        if unknown:
            self.notes.append(f"{split}: the vocabulary lacks {unknown:,} of {total:,} pieces of {name}")

    def _check_directions(self) -> None:
        if "train" in self.splits:
            train = self.splits["train"][0]
            for source, _ in self.splits.values():
                if source is not train:
                    check_direction(train, source)

    def _step(self) -> int:
        return self._world()  # the position counts batches

    def _by_length(self, data: EncodedPairs, seed: int | None, resume: tuple[int, int] = (0, 0)) -> LengthBatches:
        return LengthBatches(data.lengths, self.batch_tokens, None, seed, self._rank(), self._world(), resume)

    def _in_order(self, split: Split, purpose: Purpose, shared: bool = True) -> DataLoader | None:
        """To evaluate in the order of length, for less padding; `row` tells where a pair belongs. Else in order."""
        data = self.encoded.get(split)
        if data is None:
            return None
        lengths = data.lengths if purpose == "evaluate" else np.zeros(len(data), np.int64)
        rank, world = (self._rank(), self._world()) if shared else (0, 1)
        return self._loader(data, LengthBatches(lengths, None, self.batch_size, None, rank, world), whole=True)
