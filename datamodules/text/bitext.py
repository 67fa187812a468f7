"""Parallel text: sentences with their translations, and checks for empty, untranslated and misaligned pairs."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from datamodules.text.lines import normalize_blanks, read_lines
from modules.contracts import DataError

MARKER = "@@"  # subword-nmt's; a line of nothing else lost its text
ALIKE = 0.5  # lines of the two sides may be the same up to this share
SEGMENTED = 0.1  # lines may show markers up to this share


@dataclass(frozen=True)
class Bitext:
    """Sentence pairs in the order of their file.

    Args:
        source, target: sentences, blanks normalized; `target` is null where there are only sentences to translate.
        names: the files of either side, for messages.
        broken: reasons of pairs that cannot be decoded, by index.
        mended: number of sentences whose blanks were normalized.
        notes: warnings about oddities that were left as they are.
    """

    source: list[str]
    target: list[str] | None
    names: tuple[str, str]
    broken: dict[int, str] = field(default_factory=dict)
    mended: int = 0
    notes: tuple[str, ...] = ()
    labels: ClassVar[None] = None  # no classes

    def __len__(self) -> int:
        return len(self.source)

    def id(self, index: int) -> str:
        """File and line, from 1, of the source."""
        return f"{Path(self.names[0]).name}:{index + 1}"

    def sides(self) -> list[tuple[str, list[str]]]:
        """Name and sentences of either side."""
        return list(zip(self.names, (self.source, self.target), strict=False))[: 1 if self.target is None else 2]

    def unusable(self) -> dict[int, str]:
        """Pairs with an empty side: no text, or only the markers of a segmentation.

        Sentences to be translated are all kept: every line is answered by a line.
        """
        wrong = {}
        if self.target is None:
            return wrong
        for name, texts in self.sides():
            for i, text in enumerate(texts):
                if i not in self.broken and not text.replace(MARKER, "").strip():
                    wrong[i] = f"{name} line {i + 1:,} " + (f"is only {text!r}" if text else "is empty")
        return dict(sorted(wrong.items()))


def read_pair(source: Path, target: Path, strict: bool = True) -> Bitext:
    """Read two files whose lines translate each other.

    Args:
        strict: refuse suspicious texts; else only warn.

    Raises:
        DataError: files of different lengths or the same file twice; if strict, sides cut into pieces.
    """
    if source.resolve() == target.resolve():
        raise DataError(f"source and target are both {source}: give the source and its translation")
    one, two = read_lines(source), read_lines(target)
    if len(one.texts) != len(two.texts):
        longer, shorter = (source, target) if len(one.texts) > len(two.texts) else (target, source)
        most, least = sorted((len(one.texts), len(two.texts)), reverse=True)
        raise DataError(
            f"{longer} has {most:,} lines but {shorter} {least:,}: line {least + 1:,} has no translation, and lines "
            f"before it may be out of step; give files that match line by line"
        )
    return _pairs(one.texts, two.texts, (str(source), str(target)), two.broken | one.broken, strict)


def read_table(path: Path, strict: bool = True) -> Bitext:
    """Read a file of two columns, source and target, with a tab between them; further columns are ignored.

    Args:
        strict: as of `read_pair`.

    Raises:
        DataError: a line without a tab; if strict, sides cut into pieces.
    """
    lines = read_lines(path)
    cells = [line.split("\t") for line in lines.texts]
    for i, row in enumerate(cells):
        if len(row) < 2 and i not in lines.broken and row[0].strip():
            raise DataError(f"{path} line {i + 1:,} has no tab: source and target are two columns with a tab between")
    source, target = ([row[c] if c < len(row) else "" for row in cells] for c in (0, 1))
    return _pairs(source, target, (str(path), str(path)), lines.broken, strict)


def swapped(train: Bitext, other: Bitext) -> str:
    """A warning if the sides of `other` are those of `train` swapped, judging by their words; else empty."""
    if other.target is None:
        return ""
    a, b = _words(train.source), _words(train.target)
    a, b = a - b, b - a  # names and numbers tell nothing
    c, d = _words(other.source), _words(other.target)
    straight, crossed = len(a & c) + len(b & d), len(a & d) + len(b & c)
    if crossed <= 2 * straight:
        return ""
    return (
        f"source and target are swapped: the words of {other.names[0]} are those of the training target, "
        f"the words of {other.names[1]} those of the training source; swap the two"
    )


def _pairs(
    source: list[str], target: list[str], names: tuple[str, str], broken: dict[int, str], strict: bool
) -> Bitext:
    normalized = [normalize_blanks(source), normalize_blanks(target)]
    mended = sum(map(str.__ne__, source + target, normalized[0] + normalized[1]))
    pairs = Bitext(*normalized, names, broken, mended)
    same, notes = sum(a == b for a, b in zip(pairs.source, pairs.target, strict=True)), []
    if same > ALIKE * len(pairs):
        notes.append(
            f"warning: {same:,} of {len(pairs):,} lines are the same in {pairs.names[0]} and {pairs.names[1]}, so "
            f"copying is most of what there is to learn"
        )
    for name, texts in pairs.sides():
        cut = [i for i, text in enumerate(texts) if f"{MARKER} " in text]
        if len(cut) > SEGMENTED * len(texts):
            sentence = (
                f"{name} is cut into pieces already, as {MARKER} in line {cut[0] + 1:,} shows: give whole words "
                f"(sed 's/@@ //g'), the tokenizer here cuts them itself"
            )
            notes.append(refused(sentence, strict))
    return replace(pairs, notes=tuple(notes))


def refused(sentence: str, strict: bool) -> str:
    """The sentence as a warning.

    Raises:
        DataError: it is refused, if strict.
    """
    if strict:
        raise DataError(f"{sentence}; --data.strict false takes it as it is")
    return f"warning: {sentence}"


def _words(texts: list[str], most: int = 20_000) -> set[str]:
    return {word for text in texts[:most] for word in text.split()}
