"""A text file of sentences to translate."""

import sys
from copy import copy
from pathlib import Path
from typing import ClassVar

import numpy as np

from datamodules.base import Split
from datamodules.setting_roles import Role
from datamodules.text.bitext import Bitext
from datamodules.text.lines import normalize_blanks, read_lines, split_lines
from datamodules.text.text_data import TextData
from modules.contracts import Batch


class TextFile(TextData):
    """A file of sentences to translate, one per line, in UTF-8, plain or gzip.

    Every line is answered by a line, in the same order, empty ones too.

    Args:
        root: the file; `-` reads the standard input.

    Raises:
        DataError: the file is missing, damaged, empty, or not UTF-8.
    """

    noun = "sentences"

    roles: ClassVar[dict[str, Role]] = {"root": "location"}

    def __init__(self, root: str, **kwargs):
        super().__init__(**kwargs)
        self.root = root

    def sources(self) -> dict[Split, Bitext]:
        if self.root == "-":
            name, lines = "standard input", split_lines(sys.stdin.buffer.read(), "standard input")
        else:
            name, lines = self.root, read_lines(Path(self.root).expanduser())
        return {"test": Bitext(normalize_blanks(lines.texts), None, (name, name), lines.broken)}

    def batch(self, sentences: list[str]) -> Batch:
        """The batch that `predict` makes of sentences, in their order.

        Raises:
            DataError: they are of another script than the checkpoint's vocabulary.
        """
        one = copy(self)
        one.splits, one.encoded, one.notes = {}, {}, []
        one.sources = lambda: {"test": Bitext(normalize_blanks(sentences), None, ("text", "text"))}
        one.setup("predict")
        return one.encoded["test"][(0, np.arange(len(sentences)))]

    def blame(self, first: str, more: str) -> str:
        return f"{first}{more}: convert the file to UTF-8"
