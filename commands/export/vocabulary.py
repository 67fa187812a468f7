"""Vocabularies of exported files without a library: text to token ids and back, as `modules.text.tokenizer`."""

import json
import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

PAD, BOS, EOS, UNK = range(4)
SPECIAL = 4  # ids below are of no piece
BLANK, INSIDE = "▁", "##"
ASCII = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


class Vocabulary:
    """Pieces of text by their ids.

    Args:
        text: as `Tokenizer.to_json` gives it.
    """

    def __init__(self, text: str):
        known = json.loads(text)
        model = known["model"]
        self.type, self.ids = model["type"], model["vocab"]
        self.pieces = {i: piece for piece, i in self.ids.items()}
        self.characters = known["pre_tokenizer"]["type"] == "Split"
        pairs = (merge if isinstance(merge, list) else merge.split(" ") for merge in model.get("merges", ()))
        self.ranks = {tuple(pair): rank for rank, pair in enumerate(pairs)}
        self.word = lru_cache(65536)(self._word)

    def encode(self, text: str) -> list[int]:
        """Ids of the pieces of a text, without BOS and EOS."""
        text = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()
        if self.characters:
            return [self.ids.get(character, UNK) for character in text]
        words = ((BLANK + word) for word in text.replace(BLANK, "_").split(" ") if word)
        return [i for word in words for part in _parts(word) for i in self.word(part)]

    def decode(self, ids: list[int]) -> str:
        """Text of ids; special tokens are left out."""
        pieces = [self.pieces[i] for i in ids if i >= SPECIAL]
        if self.characters:
            return "".join(pieces)
        if self.type == "WordPiece":
            pieces = [piece[2:] if piece.startswith(INSIDE) and piece != INSIDE else piece for piece in pieces]
        first = pieces[0].replace(BLANK, "") if pieces else ""
        return first + "".join(pieces[1:]).replace(BLANK, " ")

    def _word(self, word: str) -> list[int]:
        if self.type == "WordPiece":
            return self._longest(word)
        parts = [word] if self.type == "WordLevel" else self._merged(list(word))
        return [self.ids.get(part, UNK) for part in parts]

    def _merged(self, parts: list[str]) -> list[str]:
        """Characters merged pair by pair, the pairs that were learned first before others (Sennrich et al. 2016)."""
        while len(parts) > 1:
            ranks = [self.ranks.get(pair, len(self.ranks)) for pair in pairwise(parts)]
            if (best := min(ranks)) == len(self.ranks):
                break
            place = ranks.index(best)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        return parts

    def _longest(self, word: str) -> list[int]:
        """The longest known pieces from the front on; UNK for a word that has none (Wu et al. 2016)."""
        found, start = [], 0
        while start < len(word):
            front = INSIDE if start else ""
            ends = (end for end in range(len(word), start, -1) if front + word[start:end] in self.ids)
            if len(word) > 100 or (end := next(ends, None)) is None:
                return [UNK]
            found.append(self.ids[front + word[start:end]])
            start = end
        return found


def _parts(word: str) -> list[str]:
    """A word cut around each of its marks of punctuation."""
    marked = "".join(f"\0{c}\0" if c in ASCII or unicodedata.category(c).startswith("P") else c for c in word)
    return [part for part in marked.split("\0") if part]
