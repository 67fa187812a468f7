"""Run a file that `export` wrote, with NumPy, Pillow and onnxruntime alone.

    python examples/onnx_minimal.py model.onnx photo.jpg other.png

Preprocessing, network and decoding are inside of the file: pixels go in, answers come out under the names of the
predictions (label and scores, mask, boxes and labels and scores, features).
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main(model: str, images: list[str]) -> None:
    """Print the answers of the file `model` for images; maps of classes go to NAME_mask.png."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["graft"])
    classes = about["classes"]
    for name in images:
        upright = ImageOps.exif_transpose(Image.open(name)).convert("RGB")
        outputs = session.run(about["outputs"], {"image": np.asarray(upright)[None]})
        found = dict(zip(about["outputs"], outputs, strict=True))
        count = found.pop("count", [None])[0]  # of real objects, in front of padding
        found = {key: value[0][:count] for key, value in found.items()} if count is not None else first(found)
        print(f"{name}: {said(found, classes, about.get('threshold') or 0.5)}")
        if "mask" in found:
            Image.fromarray(found["mask"]).save(f"{name.rpartition('.')[0]}_mask.png")


def first(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Answers of the first image of a batch."""
    return {key: value[0] for key, value in found.items()}


def said(found: dict[str, np.ndarray], classes: list[str] | None, threshold: float) -> str:
    """The answers for an image in words."""
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
    main(sys.argv[1], sys.argv[2:])
