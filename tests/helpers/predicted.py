"""Files of a user's own, and the answers that `predict` writes for them beside those of a predictor in memory."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from callbacks.writers.coco_results import records
from commands.predictor import Predictor
from tests.helpers.files import rows
from tests.helpers.filmed import film

SENTENCES = ["a red circle", "", "the large green square is left of the small blue triangle"]
SIZES = ((40, 64), (50, 33), (24, 24))
DATA = {"image": "UnlabeledImages", "video": "Videos", "text": "TextFile", "noise": "LatentSamples"}


def own_samples(kind: str, folder: Path) -> tuple[str, list]:
    """The root of some files of a kind, and their content in order; of noise, the number of images and their places."""
    if kind == "noise":
        return "", [0, 1, 2]
    if kind == "text":
        (folder / "own.txt").write_text("\n".join(SENTENCES) + "\n")
        return str(folder / "own.txt"), SENTENCES
    random = np.random.default_rng(3)
    for i, size in enumerate(SIZES):
        path = folder / f"{i}.{'mp4' if kind == 'video' else 'png'}"
        if kind == "video":
            film(path, 12 + i, size=(32 + 16 * i, 64), seed=i)
        else:
            Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).resize(size[::-1]).save(path)
    return str(folder), [path.read_bytes() for path in sorted(folder.iterdir())]


def assert_predicts_the_same(graft: Callable, run: Path, folder: Path, config: list[str] = []) -> None:  # noqa: B006
    """Assert that a predictor answers as `predict` writes, for files of the user's own."""
    folder.mkdir()
    predictor = Predictor.load(run, *config)
    root, samples = own_samples(predictor.kind, folder)
    typed = ["--data", DATA[predictor.kind], *(["--data.root", root] if root else ["--data.count", "3"])]
    out = folder.with_name(f"{folder.name}_out")
    code, said = graft("predict", *config, "--ckpt_path", str(run), *typed, "--run_dir", str(out))
    assert code == 0, said
    found, written = predictor(samples), out / "predictions"
    assert len(found) == 3
    _compare(found, written, predictor.classes)


def _compare(found: list[dict], written: Path, classes: list[str] | None) -> None:
    if "boxes" in found[0]:
        names, keys = [f"{i}.png" for i in range(len(found))], ("boxes", "labels", "scores", "rle")
        known = {key: [one[key] for one in found] for key in keys if key in found[0]}
        tensors = {key: value if key == "rle" else [*map(torch.as_tensor, value)] for key, value in known.items()}
        made = list(records(names, tensors, list(range(1, len(classes) + 1))))
        without = (
            {"predict_bbox.json": "segmentation", "predict_segm.json": "bbox"}
            if "rle" in known
            else {"predict.json": ""}
        )
        for name, key in without.items():
            entries = [{k: v for k, v in entry.items() if k != key} for entry in made]
            assert entries == json.loads((written / name).read_text())
    elif "mask" in found[0]:
        for i, one in enumerate(found):
            with Image.open(written / "masks" / f"{i}.png") as file:
                assert np.array_equal(one["mask"], np.asarray(file)) and one["mask"].shape == SIZES[i]
    elif "text" in found[0]:
        with (written / "predict.csv").open(newline="") as file:
            assert [row["text"] for row in csv.DictReader(file)] == [one["text"] for one in found]
    elif "generated" in found[0]:
        for i, one in enumerate(found):
            with Image.open(written / "samples" / f"{i:06d}.png") as file:
                assert np.array_equal(one["generated"], np.asarray(file))
    elif "features" in found[0]:
        np.testing.assert_allclose(
            np.stack([one["features"] for one in found]), _features(written), rtol=1e-5, atol=1e-6
        )
    else:
        for row, one in zip(rows(written / "predict.csv"), found, strict=True):
            assert row["label"] == classes[one["label"]]
            assert [f"{score:.6f}" for score in one["scores"]] == [v for k, v in row.items() if k.startswith("p(")]


def _features(written: Path) -> np.ndarray:
    with np.load(written / "features.npz") as file:
        return file["features"]
