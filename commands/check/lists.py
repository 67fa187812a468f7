"""Lists, tables and JSON of a data set without the files that a cleaned copy leaves out."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from datamodules.detection.formats.merge import split_of
from datamodules.file_names import locate, posix
from datamodules.text_files import read_text
from modules.contracts import DataError

TEXTS = {".txt", ".csv", ".tsv", ".lst"}
STEMS = "ImageSets"  # folder of Pascal VOC's lists, which name images without suffix
LARGEST = 1 << 30  # bytes of a list


class Lists:
    """Lists below a folder, shortened.

    Args:
        base: the folder.
        dropped: files, each with the split that lacks it; an empty split stands for all.
        gone: those that no split has any more.
    """

    def __init__(self, base: Path, dropped: Iterable[tuple[Path, str]], gone: set[Path]):
        self.base, self.gone = base, gone
        self.dropped: dict[str, set[Path]] = {}
        for path, split in dropped:
            self.dropped.setdefault(split, set()).add(path)
        self.folders = sorted({path.parent for paths in self.dropped.values() for path in paths})

    def shortened(self, path: Path) -> bytes | None:
        """The new content of a list; null for a file that stays as it is."""
        kind = path.suffix.lower()
        if not self.folders or kind not in (*TEXTS, ".json", ".yaml", ".yml") or not path.is_file():
            return None  # no list, or a pipe
        if path.stat().st_size > LARGEST:
            return None
        try:
            text = read_text(path)
        except DataError:  # no text
            return None
        lost = self.gone | self.dropped.get(split_of(path, self.base) or "", set())
        shorter = {".json": self._json, ".yaml": _yaml, ".yml": _yaml}.get(kind, self._lines)(text, path, lost)
        return None if shorter is None or shorter == text else shorter.encode()

    def _lines(self, text: str, path: Path, lost: set[Path]) -> str:
        return "".join(line for line in text.splitlines(keepends=True) if not self._names(line, path, lost))

    def _names(self, line: str, file: Path, lost: set[Path]) -> bool:
        """True for a line that begins with the name of a lost file."""
        first = re.split(r"[\t,;|]|#\d+\t", line.strip(), maxsplit=1)[0].strip().strip('"')
        return any(self._is_lost(name, file, lost) for name in dict.fromkeys((first, first.split(" ")[0])) if name)

    def _is_lost(self, name: str, file: Path, lost: set[Path]) -> bool:
        name = re.sub(r"#\d+$", "", name)  # Flickr8k's number of the caption
        last = posix(name).rpartition("/")[2]
        if not Path(last).suffix:
            return STEMS in file.parts and any(path.stem == last for path in lost)
        if all(path.name != last for path in lost):
            return False
        return locate(name, [self.base, file.parent, *self.folders]) in lost

    def _json(self, text: str, path: Path, lost: set[Path]) -> str | None:
        """COCO's images and annotations, or Karpathy's images."""
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(content, dict) or not isinstance(content.get("images"), list):
            return None
        kept, numbers = [], set()
        for image in content["images"]:
            if self._is_lost(_file(image), path, lost):
                numbers.add(str(image.get("id")))
            else:
                kept.append(image)
        if not numbers:
            return None
        content["images"] = kept
        if isinstance(content.get("annotations"), list):
            content["annotations"] = [a for a in content["annotations"] if str(a.get("image_id")) not in numbers]
        return json.dumps(content)


def _file(image: Any) -> str:
    """The file of an image in a JSON; empty if it names none."""
    if not isinstance(image, dict):
        return ""
    name = str(image.get("file_name") or image.get("filename") or "")
    return f"{image['filepath']}/{name}" if image.get("filepath") else name


def _yaml(text: str, path: Path, lost: set[Path]) -> str | None:
    """YOLO's data.yaml without `path`, which would lead back to the original."""
    try:
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return None
    if not isinstance(content, dict) or "names" not in content or "path" not in content:
        return None
    del content["path"]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
