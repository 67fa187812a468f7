"""Parallel text files for machine translation, and Multi30k."""

from pathlib import Path
from typing import ClassVar

from datamodules.base import Split
from datamodules.setting_roles import Role
from datamodules.text.bitext import Bitext, read_pair, read_table
from datamodules.text.text_data import TextData
from modules.contracts import ConfigError, DataError


class ParallelText(TextData):
    """Two files whose lines translate each other, or one file of two columns with a tab between, in UTF-8.

    Plain or gzip. Without validation files, `val_split` of the training pairs becomes the validation set.

    Args:
        source: the training sentences; without `target`, both columns.
        target: their translations, line by line.
        val_source: the sentences of the validation set, or both columns.
        val_target: their translations.
        test_source: the sentences of the test set, or both columns.
        test_target: their translations.

    Raises:
        DataError: files that are missing, damaged, empty, of different lengths or the same; if `strict`, swapped or cut
            into pieces.
    """

    roles: ClassVar[dict[str, Role]] = {
        "source": "location",
        "target": "location",
        "val_source": "location",
        "val_target": "location",
        "test_source": "location",
        "test_target": "location",
    }

    def __init__(
        self,
        source: str,
        target: str | None = None,
        val_source: str | None = None,
        val_target: str | None = None,
        test_source: str | None = None,
        test_target: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.files: dict[Split, tuple[str, str | None]] = {"train": (source, target)}
        for split, one, two in (("val", val_source, val_target), ("test", test_source, test_target)):
            if two and not one:
                raise ConfigError(f"data.{split}_target is given without data.{split}_source: give both")
            if one:
                self.files[split] = (one, two)

    def sources(self) -> dict[Split, Bitext]:
        paths = {split: [Path(name).expanduser() for name in names if name] for split, names in self.files.items()}
        return {
            split: read_pair(*both, self.strict) if len(both) > 1 else read_table(*both, self.strict)
            for split, both in paths.items()
        }


class Multi30k(TextData):
    """Multi30k, captions of images and their translations (Elliott et al. 2016), as in the authors' `data/task1/raw`.

    `train`, `val` and `test_2016_flickr` in one folder, each `.en`, `.de`, `.fr` or `.cs`, plain or `.gz`.

    Args:
        root: the folder.
        source: the language to translate from, as the files end.
        target: the language to translate to.
        test: the test set: `test_2016_flickr`, `test_2017_flickr`, `test_2017_mscoco` or `test_2018_flickr`.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location", "source": "samples", "target": "samples", "test": "samples"}

    def __init__(self, root: str, source: str = "en", target: str = "de", test: str = "test_2016_flickr", **kwargs):
        super().__init__(**kwargs)
        if source == target:
            raise ConfigError(f"data.source and data.target are both {source!r}: name two languages")
        self.root, self.languages = Path(root).expanduser(), (source, target)
        self.parts: dict[Split, str] = {"train": "train", "val": "val", "test": test}

    def sources(self) -> dict[Split, Bitext]:
        return {
            split: read_pair(*(self._file(part, language) for language in self.languages), self.strict)
            for split, part in self.parts.items()
        }

    def _file(self, part: str, language: str) -> Path:
        for name in (f"{part}.{language}.gz", f"{part}.{language}"):
            if (self.root / name).is_file():
                return self.root / name
        if not self.root.is_dir():
            raise DataError(f"data.root {self.root} is not a folder")
        found = sorted({p.name.removesuffix(".gz") for p in self.root.iterdir() if "." in p.name})
        raise DataError(
            f"{self.root} has no {part}.{language}, plain or .gz, but {', '.join(found[:12]) or 'no files'}: set "
            f"data.root, data.source, data.target or data.test to what is there"
        )
