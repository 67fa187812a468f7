"""Fonts for names and sentences in any script: DejaVu Sans, and where it lacks a character, a font of the system."""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from lightning.pytorch.utilities import rank_zero_info

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USUAL = "DejaVu Sans"  # comes with matplotlib


def use_fonts(figure: "Figure") -> None:
    """Give every text of a figure the fonts that its characters need; bytes that are no characters are escaped."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if (whole := text.get_text().encode("utf-8", "backslashreplace").decode()) != text.get_text():
            text.set_text(whole)  # a file's name that is not in UTF-8
        if further := [name(path) for path in font_files(text.get_text())[1:]]:
            text.set_fontfamily([USUAL, *further])


def font_files(text: str) -> list[str]:
    """Paths of fonts that together cover a text, DejaVu Sans first; characters without a font are reported once."""
    found, missing = [_usual()], set()
    for character in dict.fromkeys(text):
        if not character.isspace() and character.isprintable():
            path = _font_with(character)
            missing |= set() if path else {character}
            found += [path] if path and path not in found else []
    if missing := missing - _REPORTED:
        if not _REPORTED:
            rank_zero_info(
                f"figures: no font of this system has {' '.join(sorted(missing)[:5])}, so boxes stand for such "
                "characters; a font such as Noto (fonts-noto) draws them"
            )
        _REPORTED.update(missing)
    return found


_REPORTED: set[str] = set()


@cache
def name(path: str) -> str:
    """Matplotlib's family name of a font file."""
    from matplotlib.font_manager import FontProperties, fontManager

    if all(font.fname != path for font in fontManager.ttflist):
        fontManager.addfont(path)
    return FontProperties(fname=path).get_name()


@cache
def _usual() -> str:
    from matplotlib.font_manager import findfont

    return findfont(USUAL)


@cache
def _font_with(character: str) -> str | None:
    """A font file that has the character; those already in use come first, so that a text needs few."""
    helped = [path for path in _HELPED if ord(character) in _characters(path)]
    path = next(iter(helped), None) or next((p for p in _files() if ord(character) in _characters(p)), None)
    if path and path not in _HELPED:
        _HELPED.append(path)
    return path


_HELPED: list[str] = []


def _files() -> Iterator[str]:
    """Font files, the usual one and then the upright ones of ordinary weight first."""
    yield _usual()
    yield from _installed()


@cache
def _installed() -> list[str]:
    from matplotlib.font_manager import findSystemFonts

    odd = ("italic", "oblique", "bold", "black", "light", "thin", "mono", "serif", "color", "emoji")
    return sorted(findSystemFonts(), key=lambda path: (sum(word in path.lower() for word in odd), path))


@cache
def _characters(path: str) -> frozenset[int]:
    from matplotlib.font_manager import get_font

    try:
        return frozenset(get_font(path).get_charmap())
    except (RuntimeError, OSError, ValueError):  # a font that FreeType cannot read
        return frozenset()
