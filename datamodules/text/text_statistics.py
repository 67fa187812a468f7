"""Statistics of sentence pairs for the startup summary, and BLEU of copying the source, the trivial baseline."""

from datamodules.base import Split
from datamodules.cache import cached, digest
from datamodules.text.batches import LengthBatches
from datamodules.text.bitext import Bitext
from datamodules.text.encoded import EncodedPairs
from modules.metrics.scripts import Tokenize
from modules.metrics.translation import corpus_bleu
from modules.text.tokenizer import Tokenizer


def pieces(data: EncodedPairs) -> str:
    """Number of pieces in a split's sentences, to follow the number of pairs."""
    sides = [("source", data.source)] + ([("target", data.target)] if data.target else [])
    texts = (
        f"{name} {len(ids.tokens):,}, {ids.lengths.mean():.1f} each, {ids.lengths.max()} at most" for name, ids in sides
    )
    return f" (pieces: {'; '.join(texts)})"


def vocabularies(sides: dict[str, Tokenizer], asked: int | None) -> list[str]:
    """Vocabulary sizes, with a note where they fall short of the size `asked` for; null for those of a checkpoint."""
    lines = [f"{name} vocabulary: {len(found):,} pieces" for name, found in sides.items()]
    if asked is None:
        return [f"{line}, of the checkpoint" for line in lines]
    short = [len(found) < asked for found in sides.values()]
    return [
        line + (f"; the texts give no more of the {asked:,} asked for" if fewer else "")
        for line, fewer in zip(lines, short, strict=True)
    ]


def blanks(sources: list[Bitext]) -> list[str]:
    """Number of lines in which blanks were normalized."""
    mended = sum(source.mended for source in {id(source): source for source in sources}.values())
    return [f"blanks normalized in {mended:,} lines"] if mended else []


def batches(sampler: LengthBatches, tokens: int) -> list[str]:
    """Number of batches in an epoch, and their share of padding."""
    share = f"{100 * sampler.padding():.1f} % of them padding"
    return [f"{len(sampler.ends):,} batches an epoch, of up to {tokens:,} tokens on the longer side, {share}"]


def leaks(train: EncodedPairs, judged: dict[Split, EncodedPairs]) -> list[str]:
    """Leakage: number of sentences of other splits that are also in training."""
    known = set(train.texts("source"))
    same = {split: sum(text in known for text in data.texts("source")) for split, data in judged.items()}
    return [f"also in train: {count:,} source sentences of {split}" for split, count in same.items() if count]


def copies(judged: dict[Split, EncodedPairs], tokenize: Tokenize, lowercase: bool) -> list[str]:
    """Trivial baseline: BLEU of the source as a translation."""
    scores = [f"{copied(data, tokenize, lowercase):.2f} on {split}" for split, data in judged.items() if data.target]
    return [f"copying the source has BLEU {', '.join(scores)}"] if scores else []


def copied(data: EncodedPairs, tokenize: Tokenize = "13a", lowercase: bool = False) -> float:
    """Corpus BLEU in [0, 100] of the source sentences taken as translations, by the tokenizer of the metric."""
    source, target = data.texts("source"), data.texts("target")

    def compute() -> float:
        return corpus_bleu(source, target, tokenize, lowercase)

    return cached("copied", digest([f"0..100 {tokenize} {lowercase}", *source, *target]), compute)
