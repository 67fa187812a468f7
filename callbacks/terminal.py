"""Lines of text as wide as the terminal: notes wrapped, commands continued by a backslash."""

import re
import shutil
import textwrap

WORD = r"""(?:[^\s'"]|'[^']*'|"[^"]*"|['"])+"""  # of a command as `shlex.join` quotes it
OPTION = re.compile(rf"{WORD}(?: (?!-){WORD})*")
COMMAND = re.compile(
    r"([^:]*: +)((?:\w+=\S+ )?(?:python .*cli\.py'?|\S*graft'?|wandb|mlflow|tensorboard) .*)", flags=re.DOTALL
)
"""A note, a colon and a command to the end of the line."""


def print_line(line: str) -> None:
    """Print a line as `fill` wraps it."""
    print(fill(line), flush=True)


def fill(line: str) -> str:
    """A line, wrapped between words at the width of the terminal (80 columns where there is none).

    Further lines are indented by two more spaces. Longer words, such as paths, stay whole. A command after a colon, at
    the end of the line, is broken between its options by backslashes, so that it can still be copied.
    """
    width, indent = shutil.get_terminal_size().columns, len(line) - len(line.lstrip()) + 2
    if len(line) <= width:
        return line
    if command := COMMAND.fullmatch(line):
        return command[1] + _continued(command[2], width, len(command[1]))
    options = {"subsequent_indent": " " * indent, "break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(line, width, **options)


def _continued(command: str, width: int, column: int) -> str:
    """A command that begins at a column, in lines that a shell reads as one; an option and its value stay together."""
    program, *options = OPTION.findall(command)
    parts = re.findall(WORD, program)
    for option in options:
        parts += [option] if len(option) < width - 6 else re.findall(WORD, option)
    lines, room = [""], width - column
    for part in parts:
        if lines[-1] and len(lines[-1]) + len(part) + 3 > room:  # of the blank, and of a blank and the backslash
            lines.append(f"    {part}")
            room = width
        else:
            lines[-1] += f" {part}" if lines[-1] else part
    return " \\\n".join(lines)
