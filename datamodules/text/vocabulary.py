"""Vocabularies are learnt once for the same texts."""

import tokenizers

from datamodules.cache import cached, digest
from modules.text.tokenizer import Kind, Tokenizer


def learnt(texts: list[str], kind: Kind, size: int) -> Tokenizer:
    """What `Tokenizer.train` makes of the texts, from the cache if the same was asked before."""
    key = digest([tokenizers.__version__, kind, size, *texts])
    return Tokenizer.from_json(cached("tokenizer", key, lambda: Tokenizer.train(texts, kind, size).to_json()))
