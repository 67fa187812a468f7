"""Run a file that `export` wrote, with NumPy, Pillow and onnxruntime alone.

    python examples/onnx_minimal.py model.onnx photo.jpg other.png
    python examples/onnx_minimal.py video.onnx clip.gif
    python examples/onnx_minimal.py generator.onnx 0 1 2
    python examples/onnx_minimal.py translation.onnx "a red circle"

Preprocessing, network and decoding are inside of the file: pixels go in, answers come out under the names of the
predictions (label and scores, mask, boxes and labels and scores, features, generated). Masks of objects come as squares
of probabilities over the boxes, which `pasted` brings into the image. Sentences are searched for with
`commands/export/beam_search.py` and `vocabulary.py`, which need NumPy alone; take both with you.
"""

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps, ImageSequence

Run = Callable[..., dict[str, np.ndarray]]
"""Inputs by name to outputs by name."""


def main(model: str, samples: list[str]) -> None:
    """Print the answers of the file `model` for samples; maps of classes and generated images go to files."""
    run, about = opened(Path(model))
    if "task" not in about:
        raise ValueError(f"{model} is one step of a decoder, or of another program: give the model.onnx of an export")
    for name in samples:
        found = KINDS[about.get("kind", "image")](name, run, about)
        if "search" in about["settings"]:
            step, other = opened(Path(model).with_name(about["parts"]["decoder"]))
            if other.get("export") != about.get("export"):
                raise SystemExit(f"{about['parts']['decoder']} was not exported together with {model}")
            found = {"text": written(found, step, about["settings"])}
        print(f"{name}: {said(found, about['classes'], about.get('threshold') or 0.5)}")
        for key in found.keys() & {"mask", "generated", "features"}:
            path = f"{Path(name).with_suffix('')}_{key}.{'npy' if key == 'features' else 'png'}"
            if key == "features":
                np.save(path, found[key])
            else:
                Image.fromarray(found[key].squeeze()).save(path)
            print(f"  {key} in {path}")


def opened(path: Path) -> tuple[Run, dict[str, Any]]:
    """A file as a function of its inputs, and its metadata; these are empty in files of others."""
    path.stat()  # says if there is none
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, inputs), strict=True))

    return run, json.loads(session.get_modelmeta().custom_metadata_map.get("graft", "{}"))


def image(name: str, run: Run, about: dict[str, Any]) -> dict[str, np.ndarray]:
    """Answers for an image file."""
    upright = ImageOps.exif_transpose(Image.open(name))
    if upright.mode[0] in "IF":
        raise ValueError(f"{name} has more than 8 bits, which Pillow would cut off: convert it before")
    upright = upright.convert("RGB")
    found = run(image=np.asarray(upright)[None])
    if "search" in about["settings"]:
        return found
    count = found.pop("count", [None])[0]  # of real objects, in front of padding
    if count is None:
        return first(found)
    found = {key: value[0][:count] for key, value in found.items()}
    if "mask_probabilities" in found:  # the pixels of each object get its number, from 1; the best one in front
        found["mask"] = np.zeros((upright.height, upright.width), np.uint8)
        sure = np.flatnonzero(found["scores"] >= (about.get("threshold") or 0.5))[:255]
        exact = about["settings"].get("exact_masks", False)
        for number, i in reversed(list(enumerate(sure, 1))):
            found["mask"][pasted(found["mask_probabilities"][i], found["boxes"][i], upright.size, exact)] = number
    return found


def video(name: str, run: Run, about: dict[str, Any]) -> dict[str, np.ndarray]:
    """Answers for an animated image: one clip, the middle frame of each of T equal parts."""
    frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(Image.open(name))]
    length = about["settings"]["frames"]
    chosen = ((np.arange(length) + 0.5) * len(frames) / length).astype(int)
    return first(run(video=np.stack([frames[i] for i in chosen])[None]))


def noise(name: str, run: Run, about: dict[str, Any]) -> dict[str, np.ndarray]:
    """The image of a number, which stands for noise and, of a conditional generator, for a class."""
    settings, number = about["settings"], int(name)
    inputs = {"noise": np.random.default_rng((0, number)).standard_normal((1, settings["latent"]), np.float32)}
    if settings["conditional"]:
        inputs["label"] = np.array([number % len(about["classes"])])
    return first(run(**inputs))


def text(name: str, run: Run, about: dict[str, Any]) -> dict[str, np.ndarray]:
    """The first state of a decoder for a sentence."""
    search, vocabulary = ours()
    ids = vocabulary.Vocabulary(about["settings"]["tokenizers"][0]).encode(name)
    return run(source=np.array([[*ids, search.EOS]]))


def written(state: dict[str, np.ndarray], decoder: Run, settings: dict[str, Any]) -> str:
    """The likeliest text from the first state of a decoder."""
    search, vocabulary = ours()

    def step(tokens: np.ndarray, known: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        new = decoder(tokens=tokens, **known)
        return new.pop("logs"), {name.removeprefix("new_"): value for name, value in new.items()}

    ((best, *_),) = search.search(step, state, settings["search"])
    return vocabulary.Vocabulary(settings["tokenizers"][-1]).decode(best.tokens)


def ours() -> tuple[Any, Any]:
    """The modules `beam_search` and `vocabulary`, which lie in this program or beside this file."""
    folder = Path(__file__).resolve().parents[1] / "commands" / "export"
    sys.path.append(str(folder))
    try:
        return import_module("beam_search"), import_module("vocabulary")
    except ModuleNotFoundError as error:
        raise ValueError("text takes beam_search.py and vocabulary.py of commands/export, beside this file") from error


KINDS = {"image": image, "video": video, "text": text, "noise": noise}
"""Kinds of samples of a file."""


def first(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Answers of the first sample of a batch."""
    return {key: value[0] for key, value in found.items()}


def pasted(square: np.ndarray, box: np.ndarray, size: tuple[int, int], exact: bool = False) -> np.ndarray:
    """Mask bool (H, W) of an object in an image of width and height `size`, from probabilities (M, M) over its box.

    Boxes are rounded to pixels as torchvision does it, unless they are `exact`.
    """
    if exact:
        for axis, low, high, length in zip((1, 0), box[:2], box[2:], size, strict=True):
            at = (np.arange(length) + 0.5 - low) / max(high - low, 1e-6)
            cells = (at[:, None] * square.shape[axis] - 0.5).clip(0, square.shape[axis] - 1)
            weights = (1 - abs(cells - np.arange(square.shape[axis]))).clip(0) * ((at >= 0) & (at < 1))[:, None]
            square = square @ weights.T if axis else weights @ square
        return square > 0.5
    square = np.pad(square, 1)  # lets the edge fade out; the box grows with it
    half = (box[2:] - box[:2]) / 2 * np.float32(len(square) / (len(square) - 2))
    middle = (box[:2] + box[2:]) / 2
    low, high = (middle - half).astype(int), (middle + half).astype(int)
    for axis, start, end, length in zip((1, 0), low, high, size, strict=True):
        at = np.arange(length) - start
        place = ((at + 0.5) * len(square) / max(end - start + 1, 1) - 0.5).clip(0)
        below = np.minimum(place.astype(int), square.shape[axis] - 1)
        part = (place - below).reshape(-1, 1) if axis == 0 else place - below
        near, far = (square.take(np.minimum(below + i, square.shape[axis] - 1), axis) for i in (0, 1))
        inside = (at >= 0) & (at <= end - start)
        square = (near * (1 - part) + far * part) * (inside[:, None] if axis == 0 else inside)
    return square > 0.5


def said(found: dict[str, np.ndarray], classes: list[str] | None, threshold: float) -> str:
    """The answers for a sample in words."""
    if "text" in found:
        return str(found["text"])
    if "label" in found:
        return f"{classes[found['label']]} ({found['scores'][found['label']]:.3f})"
    if "boxes" in found:
        objects = zip(found["boxes"], found["labels"], found["scores"], strict=True)
        sure = [f"{classes[c]} {s:.2f} at {b.round().astype(int).tolist()}" for b, c, s in objects if s >= threshold]
        return "; ".join(sure) or "nothing found"
    if "mask" in found:
        counts = np.bincount(found["mask"].ravel(), minlength=len(classes)) / found["mask"].size
        return ", ".join(f"{name} {share:.1%}" for name, share in zip(classes, counts, strict=True) if share)
    return ", ".join(f"{key} {value.shape}" for key, value in found.items())


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], sys.argv[2:])
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        sys.exit(f"error: {error}")
