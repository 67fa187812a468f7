"""Lines of text as wide as the terminal."""

import shutil
import textwrap


def fill(line: str) -> str:
    """A line, wrapped between words at the width of the terminal (80 columns where there is none).

    Further lines are indented by two more spaces. Longer words, such as paths, stay whole; commands to copy are better
    left as they are.
    """
    width, indent = shutil.get_terminal_size().columns, len(line) - len(line.lstrip()) + 2
    options = {"subsequent_indent": " " * indent, "break_long_words": False, "break_on_hyphens": False}
    return line if len(line) <= width else textwrap.fill(line, width, **options)
