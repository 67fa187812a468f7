"""Sentences that were said as files: what, of what, and what should have been."""

import csv
from collections.abc import Iterator
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer

from callbacks.files.tables import Table, open_text
from modules.contracts import Batch, Prediction, writing

LINES = {"text": "", "source": ".source", "reference": ".reference"}
"""Columns that get a file of lines too, and what its name has before `.txt`."""


class TextFiles(Table):
    """`predict.csv` or `test.csv` with the columns `id`, `source` of translations, `text`, `alternatives` where the
    search gives several (the best first), and where known `reference`, or `references` of captions, one a line in the
    cell; and some of these columns as text files, one sentence a line, as other tools read them: `test.txt`,
    `test.source.txt`, `test.reference.txt`."""

    def __init__(self, trainer: Trainer, task: LightningModule, batch: Batch) -> None:
        path = Path(trainer.default_root_dir) / "predictions" / ("test.csv" if trainer.testing else "predict.csv")
        several = getattr(getattr(task, "search", None), "best", 1) > 1
        self.columns = [
            c for c, key in KEYS.items() if key in batch or c == "text" or (c == "alternatives" and several)
        ]
        super().__init__(path, trainer.global_rank, self.columns)

    @staticmethod
    def fits(outputs: Prediction) -> bool:
        return "text" in outputs

    def add(self, batch: Batch, outputs: Prediction) -> None:
        known = {column: batch.get(key) for column, key in KEYS.items()} | {"text": outputs["text"]}
        for column, several in (("references", batch.get("captions")), ("alternatives", outputs.get("alternatives"))):
            if several is not None:
                known[column] = ["\n".join(map(one_line, texts)) for texts in several]
        if "row" in batch:
            known["row"] = batch["row"].tolist()
        self.write(zip(*(known[column] for column in self.columns), strict=True))

    def merge(self, world: int) -> list[Path]:
        super().merge(world)
        if self.columns[0] == "row":
            self._sort()
        return [self.path, *(self._lines(column) for column in LINES if column in self.columns)]

    def _sort(self) -> None:
        """Rows as the data has them, which came by length."""
        with open_text(self.path, "r") as file:
            header, *rows = csv.reader(file)
        whole = self.path.with_name(f"{self.path.name}.tmp")
        with writing(self.path):
            with open_text(whole, "w") as file:
                csv.writer(file).writerows(
                    [header[1:], *(row for _, *row in sorted(rows, key=lambda row: int(row[0])))]
                )
            whole.replace(self.path)

    def _lines(self, column: str) -> Path:
        path = self.path.with_name(f"{self.path.stem}{LINES[column]}.txt")
        part = path.with_name(f"{path.name}.tmp")
        with writing(path):
            with open_text(part, "w") as file:
                file.writelines(f"{one_line(sentence)}\n" for sentence in self._column(column))
            part.replace(path)
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
}
"""Columns, and where a batch has them. `row` only sorts."""


def one_line(sentence: str) -> str:
    """A sentence without what any program takes for the end of a line."""
    return " ".join(sentence.splitlines())
