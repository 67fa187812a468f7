"""Text to token ids and back, as a plain string that travels inside a checkpoint."""

import os
from collections.abc import Iterable
from typing import Literal

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from modules.contracts import ConfigError, DataError
from modules.text.tokens import EOS, SPECIAL, UNK

Kind = Literal["bpe", "wordpiece", "words", "characters"]

BLANK = "▁"  # stands for a blank at the front of a word, as in SentencePiece
INSIDE = "##"  # in front of a word piece that does not begin a word

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # unset, every forked process would warn
# the threads do not live on in a forked process, which would wait for them forever
os.register_at_fork(after_in_child=lambda: os.environ.update(TOKENIZERS_PARALLELISM="false"))


class Tokenizer:
    """Tokenizer: a vocabulary and the rules that split text into its pieces; special tokens as in `tokens.py`.

    Text is normalized first: Unicode NFC, one blank wherever there are any. Normalized text survives the round trip,
    but for what the vocabulary lacks: characters, or whole words of `words` and `wordpiece`. The names of special
    tokens are ordinary text.

    Args:
        library: the library's own object; use `train` or `from_json`.
    """

    def __init__(self, library: tokenizers.Tokenizer):
        self.library = library
        library.encode_special_tokens = True  # not in the JSON
        if [library.id_to_token(i) for i in range(len(SPECIAL))] != list(SPECIAL):
            raise DataError(f"this tokenizer is not one of ours: its first pieces are not {', '.join(SPECIAL)}")

    @classmethod
    def train(cls, texts: Iterable[str], kind: Kind, size: int) -> "Tokenizer":
        """Train a vocabulary: BPE, WordPiece, words or characters.

        Args:
            texts: lines, as they are.
            kind: `bpe` merges frequent pairs (Sennrich et al. 2016), `wordpiece` likely ones (Wu et al. 2016), within
                words, never across punctuation; `words` keeps whole words and marks; `characters` keeps characters.
            size: pieces at most, the special tokens among them; the texts may give fewer.

        Raises:
            ConfigError: no room for anything but the special tokens.
        """
        if size <= len(SPECIAL):
            raise ConfigError(f"data.vocab_size is {size}, but {len(SPECIAL)} of them are special tokens: raise it")
        library = _untrained(kind)
        common = {"vocab_size": size, "special_tokens": list(SPECIAL), "show_progress": False}
        if kind == "bpe":
            trainer = trainers.BpeTrainer(**common)
        elif kind == "wordpiece":
            trainer = trainers.WordPieceTrainer(**common, continuing_subword_prefix=INSIDE)
        else:
            trainer = trainers.WordLevelTrainer(**common)
        library.train_from_iterator(texts, trainer)
        return cls(library)

    def __len__(self) -> int:
        return self.library.get_vocab_size()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self.to_json() == other.to_json()

    __hash__ = None

    def normalize(self, text: str) -> str:
        """The text that a round trip gives back."""
        return self.library.normalizer.normalize_str(text)

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Ids of the pieces of each text, without BOS and EOS."""
        return [found.ids for found in self.library.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids: list[list[int]]) -> list[str]:
        """Texts of ids up to the first EOS; special tokens, UNK among them, are left out."""
        return [self.library.decode(self._seen(row), skip_special_tokens=False) for row in ids]

    def pieces(self, ids: list[int]) -> list[str]:
        """Spelling of each piece: `▁` begins a word, `##` continues one."""
        return [self.library.id_to_token(i) for i in ids]

    def unknown(self, ids: list[list[int]]) -> int:
        """Number of unknown pieces (UNK)."""
        return sum(row.count(UNK) for row in ids)

    def to_json(self) -> str:
        return self.library.to_str()

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """The tokenizer that `to_json` wrote.

        Raises:
            DataError: the text is something else.
        """
        try:
            library = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises nothing narrower
            raise DataError(f"this is not a tokenizer in the format of the tokenizers library: {error}") from error
        return cls(library)

    def _seen(self, row: list[int]) -> list[int]:
        end = row.index(EOS) if EOS in row else len(row)
        return [i for i in row[:end] if i >= len(SPECIAL)]


def _untrained(kind: Kind) -> tokenizers.Tokenizer:
    unknown = SPECIAL[UNK]
    if kind == "bpe":
        library = tokenizers.Tokenizer(models.BPE(unk_token=unknown))
    elif kind == "wordpiece":
        library = tokenizers.Tokenizer(models.WordPiece(unk_token=unknown, continuing_subword_prefix=INSIDE))
    else:
        library = tokenizers.Tokenizer(models.WordLevel(unk_token=unknown))
    blanks = [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    if kind == "characters":
        library.normalizer = normalizers.Sequence(blanks)
        library.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
        library.decoder = decoders.Fuse()
        return library
    library.normalizer = normalizers.Sequence([*blanks, normalizers.Replace(BLANK, "_")])
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(BLANK, prepend_scheme="always"), pre_tokenizers.Punctuation("isolated")]
    )
    joined = decoders.Metaspace(BLANK, prepend_scheme="always")
    starts = decoders.Replace(Regex(f"^{INSIDE}(?=.)"), "")
    library.decoder = decoders.Sequence([starts, joined]) if kind == "wordpiece" else joined
    return library
