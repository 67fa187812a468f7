"""What sentence pairs are, in lines for people, and what copying the source is worth: a network has to beat it."""

from datamodules.base import Split
from datamodules.cache import cached, digest
from datamodules.text.batches import LengthBatches
from datamodules.text.bitext import Bitext
from datamodules.text.encoded import EncodedPairs
from modules.metrics.scripts import Tokenize
from modules.metrics.text import corpus_bleu
from modules.text.tokenizer import Tokenizer


def pieces(data: EncodedPairs) -> str:
    """How many pieces a split's sentences have, to be said behind the number of pairs."""
    sides = [("source", data.source)] + ([("target", data.target)] if data.target else [])
    texts = (
        f"{name} {len(ids.tokens):,}, {ids.lengths.mean():.1f} each, {ids.lengths.max()} at most" for name, ids in sides
    )
    return f" (pieces: {'; '.join(texts)})"


def vocabularies(sides: dict[str, Tokenizer], asked: int | None) -> list[str]:
    """How large the vocabularies are, and whether that is less than was asked for; null for those of a checkpoint."""
    lines = [f"{name} vocabulary: {len(found):,} pieces" for name, found in sides.items()]
    if asked is None:
        return [f"{line}, of the checkpoint" for line in lines]
    short = [len(found) < asked for found in sides.values()]
    return [
        line + (f"; the texts give no more of the {asked:,} asked for" if fewer else "")
        for line, fewer in zip(lines, short, strict=True)
    ]


def blanks(sources: list[Bitext]) -> list[str]:
    """In how many lines of the files blanks were normalized."""
    mended = sum(source.mended for source in {id(source): source for source in sources}.values())
    return [f"blanks normalized in {mended:,} lines"] if mended else []


def batches(sampler: LengthBatches, tokens: int) -> list[str]:
    """How many batches an epoch has."""
    share = f"{sampler.padding():.1%} of them padding"
    return [f"{len(sampler.ends):,} batches an epoch, of up to {tokens:,} tokens on the longer side, {share}"]


def leaks(train: EncodedPairs, judged: dict[Split, EncodedPairs]) -> list[str]:
    """How many sentences of other splits were also in training."""
    known = set(train.texts("source"))
    same = {split: sum(text in known for text in data.texts("source")) for split, data in judged.items()}
    return [f"also in train: {count:,} source sentences of {split}" for split, count in same.items() if count]


def copies(judged: dict[Split, EncodedPairs], tokenize: Tokenize, lowercase: bool) -> list[str]:
    """BLEU of the source as a translation."""
    scores = [f"{copied(data, tokenize, lowercase):.2f} on {split}" for split, data in judged.items() if data.target]
    return [f"copying the source has BLEU {', '.join(scores)}"] if scores else []


def copied(data: EncodedPairs, tokenize: Tokenize = "13a", lowercase: bool = False) -> float:
    """Corpus BLEU, 0..100, of the source sentences, taken as translations; by the tokenizer that judges these."""
    source, target = data.texts("source"), data.texts("target")

    def compute() -> float:
        return corpus_bleu(source, target, tokenize, lowercase)

    return cached("copied", digest([f"0..100 {tokenize} {lowercase}", *source, *target]), compute)
