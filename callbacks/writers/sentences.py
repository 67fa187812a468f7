"""Generated sentences, with their sources and references, as files."""

import csv
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from callbacks.writers.base import Source
from callbacks.writers.tables import Table, open_text
from modules.contracts import Batch, Prediction, writing

SHOWN = 5  # ids in a line about what was cut, and texts in the final report
CUT = {
    "source": "sources are longer than data.max_length, and only their beginnings were read; give shorter lines",
    "text": "texts reached model.search.max_length before their end",
}
CUTS = {
    (False, False): "",
    (True, False): "source",
    (False, True): "text",
    (True, True): "source and text",
}
LINES = {"text": "", "source": ".source", "reference": ".reference"}
"""Columns also written as text files, and the infix of the file name before `.txt`."""


class TextFiles(Table):
    """Write generated text as `predict.csv` or `test.csv`, and as text files of one sentence per line.

    Columns: `id`, `source` of translations, `text`, `alternatives` where the search returns several (best first, one
    per line of the cell), where known `reference`, or `references` of captions, and `cut`: `source` if truncated,
    `text` if generation stopped before its end. Text files: `test.txt`, `test.source.txt`, `test.reference.txt`.
    """

    def __init__(self, source: Source) -> None:
        batch, search = source.batch, getattr(source.task, "search", None)
        several = getattr(search, "num_return_sequences", 1) > 1
        may_be_cut = search is not None or "cut" in batch
        self.columns = [
            c
            for c, key in KEYS.items()
            if c == "text" or (several if c == "alternatives" else may_be_cut if c == "cut" else key in batch)
        ]
        super().__init__(source.folder / f"{source.stage}.csv", source.rank, self.columns)
        self.excerpts: dict[Path, list[str]] = {}

    def add(self, batch: Batch, prediction: Prediction) -> None:
        known = {column: batch.get(key) for column, key in KEYS.items()} | {"text": prediction["text"]}
        lists = {"references": batch.get("captions"), "alternatives": prediction.get("alternatives")}
        for column, several in lists.items():
            if several is not None:
                known[column] = ["\n".join(map(one_line, texts)) for texts in several]
        count = len(batch["id"])
        sides = batch.get("cut", [False] * count), prediction.get("finished", [True] * count)
        known["cut"] = [CUTS[cut, not finished] for cut, finished in zip(*sides, strict=True)]
        if "row" in batch:
            known["row"] = batch["row"].tolist()
        self.write(zip(*(known[column] for column in self.columns), strict=True))

    def merge(self, world: int) -> list[Path]:
        super().merge(world)
        if self.columns[0] == "row":
            self._sort()
        self.notes = self._about_cut() if "cut" in self.columns else []
        return [self.path, *(self._lines(column) for column in LINES if column in self.columns)]

    def _about_cut(self) -> list[str]:
        """Messages about truncated sources and texts."""
        with open_text(self.path, "r") as file:
            rows = [(row["id"], row["cut"]) for row in csv.DictReader(file)]
        lines = []
        for side, said in CUT.items():
            ids = [name for name, cut in rows if side in cut]
            more = f" and {len(ids) - SHOWN:,} more" if len(ids) > SHOWN else ""
            if ids:
                names = f"{', '.join(ids[:SHOWN])}{more}"
                lines.append(f"cut: {len(ids):,} of {len(rows):,} {said}: {names}; see column `cut` of {self.path}")
        return lines

    def _sort(self) -> None:
        """Sort rows from batches of similar length into the order of the data."""
        with open_text(self.path, "r") as file:
            header, *rows = csv.reader(file)
        partial = self.path.with_name(f"{self.path.name}.tmp")
        with writing(self.path):
            with open_text(partial, "w") as file:
                csv.writer(file).writerows(
                    [header[1:], *(row for _, *row in sorted(rows, key=lambda row: int(row[0])))]
                )
            partial.replace(self.path)

    def _lines(self, column: str) -> Path:
        path = self.path.with_name(f"{self.path.stem}{LINES[column]}.txt")
        part = path.with_name(f"{path.name}.tmp")
        with writing(path):
            with open_text(part, "w") as file:
                sentences = map(one_line, self._column(column))
                first = list(islice(sentences, SHOWN))
                file.writelines(f"{sentence}\n" for sentence in chain(first, sentences))
            part.replace(path)
        if column == "text":
            self.excerpts[path] = first
        return path

    def _column(self, column: str) -> Iterator[str]:
        with open_text(self.path, "r") as file:
            yield from (row[column] for row in csv.DictReader(file))


KEYS = {
    "row": "row",
    "id": "id",
    "source": "source_text",
    "text": None,
    "alternatives": None,
    "reference": "target_text",
    "references": "captions",
    "cut": "cut",
}
"""Column -> key of the batch. `row` is for sorting only."""


def one_line(sentence: str) -> str:
    """A sentence without any of Unicode's line breaks."""
    return " ".join(sentence.splitlines())
