"""Vocabularies: trained tokenizers, cached for the same texts, or those of a checkpoint, which must fit the texts."""

import tokenizers

from datamodules.cache import cached, digest
from datamodules.text.bitext import refused
from modules.contracts import ConfigError
from modules.text.tokenizer import Kind, Tokenizer

STRANGE = 0.5  # unknown pieces of a text up to this share


def learned(texts: list[str], kind: Kind, size: int) -> Tokenizer:
    """Train a tokenizer on the texts; cached for the same texts and settings."""
    key = digest([tokenizers.__version__, kind, size, *texts])
    return Tokenizer.from_json(cached("tokenizer", key, lambda: Tokenizer.train(texts, kind, size).to_json()))


def checked(given: tuple[Tokenizer, ...], wanted: int, noun: str) -> tuple[Tokenizer, ...]:
    """The tokenizers of a checkpoint, if they are as many as the data needs.

    Raises:
        ConfigError: they are more or fewer.
    """
    if len(given) != wanted:
        raise ConfigError(
            f"the checkpoint has {len(given)} vocabularies, but the data is {noun}, which need {wanted}: "
            "choose other --data or --ckpt_path"
        )
    return given


def lacking(tokenizer: Tokenizer, ids: list[list[int]], name: str, given: bool, strict: bool = True) -> list[str]:
    """A line about pieces of the texts that the vocabulary lacks (unknown tokens); none where it lacks nothing.

    Args:
        tokenizer: with the vocabulary.
        ids: of the texts.
        name: of the texts, for messages.
        given: true for the vocabulary of a checkpoint.
        strict: refuse texts that it was not made for; else only warn.

    Raises:
        DataError: it is that of a checkpoint, and was made for other texts, if strict.
    """
    unknown, total = tokenizer.unknown(ids), sum(map(len, ids))
    if given and unknown > STRANGE * total:
        sentence = (
            f"the checkpoint's vocabulary lacks {unknown:,} of {total:,} pieces of {name}: it was made for other "
            f"text; give the data that the checkpoint was trained for, or train anew"
        )
        return [refused(sentence, strict)]
    return [f"the vocabulary lacks {unknown:,} of {total:,} pieces of {name}"] if unknown else []
