"""Exported files as predictors; ONNX by onnxruntime alone, without torch and Lightning."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from commands.export.metadata import KEY, parsed
from commands.export.other_samples import RUNS, texts_of
from commands.extras import require
from modules.contracts import DataError

BATCH = 32  # most images of one size in a run
PLACES = r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .*? failed:|/\S+\.(h|cc):\d+ .*?\) (?=[A-Z])"
"""In errors of onnxruntime: codes, the file, and places in its source."""
PIXELS = 2**23  # most pixels of them, unless one image has more: resizing takes up to 50 bytes for each


class ImageModel:
    """Base of the predictors by files; the same interface as `commands.predictor.Predictor`.

    Args:
        path: of the file.
        text: its metadata.

    Attributes: `metadata` is that of the file; `task` the name of its class; `classes` names the classes, null without;
    `kind` of its samples: image, video, text or noise.

    Raises:
        DataError: the file is of another program.
    """

    def __init__(self, path: Path, text: str | None):
        self.path = path
        self.metadata = parsed(text, path)
        self.task: str = self.metadata["task"]
        self.classes: list[str] | None = self.metadata["classes"]
        self.kind: str = self.metadata.get("kind", "image")

    def outputs(self, inputs: dict[str, np.ndarray]) -> Sequence[np.ndarray]:
        """Outputs of the file in the order of `metadata["outputs"]`."""
        raise NotImplementedError

    def __call__(self, samples: Sequence[Any]) -> list[dict[str, Any]]:
        """Predictions of samples, one dict each.

        Args:
            samples: of the file's kind: images uint8 RGB (H, W, 3) of any sizes, of which those of one size run
                together; others as the functions in `commands.export.other_samples` take them.

        Raises:
            DataError: a sample is of another kind.
        """
        if self.kind != "image":
            return RUNS[self.kind](self, samples)
        found: list[dict[str, Any]] = [{} for _ in samples]
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, image in enumerate(samples):
            if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise DataError(f"image {i} is no array uint8 (H, W, 3)")
            groups.setdefault(image.shape, []).append(i)
        for rows in groups.values():
            height, width = samples[rows[0]].shape[:2]
            together = max(1, min(BATCH, PIXELS // (height * width)))
            for start in range(0, len(rows), together):
                part = rows[start : start + together]
                for row, answer in zip(part, self.run(np.stack([samples[i] for i in part])), strict=True):
                    found[row] = answer
        return found

    def part(self, name: str) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
        """Another graph of the file, which lies beside it: inputs to outputs, by name.

        Raises:
            DataError: it is missing or damaged.
        """
        raise NotImplementedError

    def check_part(self, path: Path, text: str | None) -> None:
        """Check that another graph, with this metadata, is of the same export as the file.

        Raises:
            DataError: it is of another one, whose weights are others.
        """
        try:
            same = json.loads(text or "").get("export") == self.metadata.get("export")
        except (ValueError, AttributeError, RecursionError):
            same = False
        if not same:
            raise DataError(f"{path} was not exported together with {self.path.name}: export again, or take its own")

    def run(self, batch: np.ndarray) -> list[dict[str, Any]]:
        """Predictions of a batch uint8 (B, H, W, 3), one dict per image; padding behind `count` is cut off."""
        values = dict(zip(self.metadata["outputs"], self.outputs({"image": batch}), strict=True))
        if "search" in self.metadata["settings"]:
            return texts_of(self, values)
        counts = values.pop("count", None)
        found = [
            {name: value[i] if counts is None else value[i][: counts[i]] for name, value in values.items()}
            for i in range(len(batch))
        ]
        if "mask_probabilities" not in values:
            return found
        exact = self.metadata["settings"].get("exact_masks", False)
        return [in_image(one, batch.shape[1:3], exact) for one in found]


def in_image(found: dict[str, Any], size: tuple[int, int], exact: bool = False) -> dict[str, Any]:
    """Objects of an image with masks over the whole image, `rle`, in place of those over the boxes."""
    import torch  # other files need it not

    from modules.decoding.masks import paste

    masks, boxes = (torch.from_numpy(found[key]) for key in ("mask_probabilities", "boxes"))
    rest = {key: value for key, value in found.items() if key != "mask_probabilities"}
    return rest | {"rle": paste(masks, boxes, size, exact=exact)}


class OnnxModel(ImageModel):
    """Predictions of an ONNX file.

    Args:
        path: the file.
        threads: of onnxruntime; null for its own choice.

    Raises:
        DataError: no such file, no ONNX file, one of another program, or one that onnxruntime cannot run.
        ConfigError: onnxruntime is not installed.
    """

    def __init__(self, path: Path, threads: int | None = None):
        self.session, self.threads = session_of(path, threads), threads
        self.parts: dict[str, Any] = {}
        super().__init__(path, self.session.get_modelmeta().custom_metadata_map.get(KEY))
        shapes = {each.name: each.shape for each in self.session.get_outputs()}
        if lacking := [name for name in self.metadata["outputs"] if name not in shapes]:
            raise DataError(f"{path} is not as `export` wrote it: it has no output {lacking[0]}")
        count = shapes["scores"][-1] if "label" in shapes and "scores" in shapes else None
        named = len(self.classes or ())
        if isinstance(count, int) and count != named:
            raise DataError(f"{path} is not as `export` wrote it: it has {count} classes, but names {named}")

    def outputs(self, inputs: dict[str, np.ndarray]) -> Sequence[np.ndarray]:
        return self._run(self.session, self.metadata["outputs"], inputs)

    def _run(self, session: Any, outputs: Sequence[str], inputs: dict[str, np.ndarray]) -> Sequence[np.ndarray]:
        try:
            return session.run(outputs, inputs)
        except Exception as error:  # onnxruntime has no base class of its errors
            shapes = ", ".join(f"{name} {'x'.join(map(str, value.shape))}" for name, value in inputs.items())
            said = " ".join(str(error).split())[:200]
            raise DataError(f"{self.path} cannot be run on {shapes}: {said}") from error

    def part(self, name: str) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
        if name not in self.parts:
            beside = self.path.with_name(self.metadata["parts"][name])
            self.parts[name] = session_of(beside, self.threads)
            self.check_part(beside, self.parts[name].get_modelmeta().custom_metadata_map.get(KEY))
        session = self.parts[name]
        outputs = [each.name for each in session.get_outputs()]
        return lambda inputs: dict(zip(outputs, self._run(session, outputs, inputs), strict=True))


def session_of(path: Path, threads: int | None = None) -> Any:
    """An onnxruntime session on the CPU.

    Raises:
        DataError: no such file, or one that onnxruntime cannot load; says why.
        ConfigError: onnxruntime is not installed.
    """
    require("export", "onnxruntime")
    import onnxruntime

    if not path.is_file():
        raise DataError(f"there is no file {path}: --onnx takes a file that `export` wrote")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if threads:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no base class of its errors
        said = re.sub(PLACES, "", " ".join(str(error).split()))
        why = "it is no ONNX file, or a damaged one" if "rotobuf" in said else said[:200]
        if path.suffix == ".pt2":
            why = "it is of torch.export, whose `load` opens it in Python"
        raise DataError(f"{path} cannot be run by onnxruntime {onnxruntime.__version__}: {why}") from error
