"""Sentences that were said as files: what, of what, and what should have been."""

import csv
from collections.abc import Iterator
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer

from callbacks.prediction_files import Table, open_text
from modules.contracts import Batch, Prediction, writing

LINES = {"text": "", "source": ".source", "reference": ".reference"}
"""Columns that get a file of lines too, and what its name has before `.txt`."""


class TextFiles(Table):
    """`predict.csv` or `test.csv` with the columns `id`, `source` of translations, `text`, and where known `reference`,
    or `references` of captions, one a line in the cell; and the first of these columns each as a text file, one
    sentence a line, as other tools read them: `test.txt`, `test.source.txt`, `test.reference.txt`."""

    def __init__(self, trainer: Trainer, task: LightningModule, batch: Batch) -> None:
        path = Path(trainer.default_root_dir) / "predictions" / ("test.csv" if trainer.testing else "predict.csv")
        self.columns = [name for name, key in KEYS.items() if key is None or key in batch]
        super().__init__(path, trainer.global_rank, ["id", *self.columns])

    @staticmethod
    def fits(outputs: Prediction) -> bool:
        return "text" in outputs

    def add(self, batch: Batch, outputs: Prediction) -> None:
        known = {name: outputs["text"] if key is None else batch.get(key) for name, key in KEYS.items()}
        if "references" in self.columns:
            known["references"] = ["\n".join(map(one_line, captions)) for captions in batch["captions"]]
        self.write(zip(batch["id"], *(known[name] for name in self.columns), strict=True))

    def merge(self, world: int) -> list[Path]:
        return super().merge(world) + [self._lines(column) for column in LINES if column in self.columns]

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


KEYS = {"source": "source_text", "text": None, "reference": "target_text", "references": "captions"}
"""Columns, and where a batch has them."""


def one_line(sentence: str) -> str:
    """A sentence without what any program takes for the end of a line."""
    return " ".join(sentence.splitlines())
