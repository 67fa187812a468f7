"""`explain` and `features` of a run of any task: the right files, which say something, or one sentence."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers.commands import values
from tests.helpers.errors import sentence

METHODS = ("saliency", "gradcam", "occlusion")
OWN_METHODS = {
    "gan": ("saliency", "occlusion"),  # without a backbone
    "wgan": ("saliency", "occlusion"),
    "translation": ("gradient_x_input", "attention"),
}
EXPLAIN = "--count 2 --depths 0".split()
WINDOWS = "--patch 16 --stride 16".split()
FEATURES = "--num_images 6 --num_patches 2 --channels 2 --steps 2".split()
WITH_CLASSES = {"classification", "video", "semantic_segmentation", "gan", "wgan"}
UNEXPLAINED = {"fast_style": "FastStyle"}  # paints, and answers nothing


def assert_explains(graft: Callable, run: Path | str, family: str, typed: Sequence[str] = ()) -> list[str]:
    """Assert that every method of a family gives maps of two samples, with figures and faithfulness, or one sentence.

    Args:
        graft: the command line.
        run: directory of the run.
        family: stem of its YAML file.
        typed: further options.

    Returns:
        What is explained, in words; empty where nothing is.
    """
    methods, out = OWN_METHODS.get(family, METHODS), Path("explained")
    command = [
        "explain",
        "--ckpt_path",
        str(run),
        "--method",
        ",".join(methods),
        *EXPLAIN,
        *(WINDOWS if "occlusion" in methods else []),
        *typed,
        "--run_dir",
        str(out),
    ]
    code, said = graft(*command)
    if family in UNEXPLAINED:
        assert code == 2
        sentence(said, UNEXPLAINED[family])
        return []
    assert code == 0, said
    with np.load(out / "maps.npz") as file:
        maps = {name: file[name] for name in methods}
        targets = file["targets"].tolist()
        assert len(file["ids"]) == len(targets) == 2 and all(targets)
        assert family == "translation" or np.isfinite(file["scores"]).all()
    for name, each in maps.items():
        assert len(each) == 2 and np.isfinite(each).all()
        varied = np.ptp(each.reshape(2, -1), 1) > 0
        assert varied.any() if name == "gradcam" else varied.all(), name  # Grad-CAM may find nothing in favor
        assert not np.array_equal(each[0], each[1]), name
    assert family == "translation" or maps["occlusion"].shape == maps["saliency"].shape  # of the network's input
    assert maps[methods[0]].ndim == {"video": 4, "videomae": 4, "video_simclr": 4, "translation": 2}.get(family, 3)
    singles = set() if family == "translation" else {"explained_0.png", "explained_1.png", "faithfulness.png"}
    assert_drawn(out / "figures", singles | {"explanations.png"})
    measured = values(out)
    assert {f"test/{name}_deletion_below_random" for name in methods} <= measured.keys()
    assert np.isfinite(list(measured.values())).all()
    return targets


def assert_has_features(graft: Callable, run: Path | str, family: str) -> None:
    """Assert that `features` finds patches, classes, levels and inversions in a run, or says one sentence."""
    out = Path("features")
    code, said = graft("features", "--ckpt_path", str(run), *FEATURES, "--run_dir", str(out))
    if family == "translation":
        assert code == 2
        sentence(said, "Translation")
        return
    assert code == 0, said
    known = family in WITH_CLASSES
    assert_drawn(out / "figures", {"channels.png", "depth.png", "inversion.png", *["classes.png"] * known})
    found = json.loads((out / "features.json").read_text())
    assert ("classes" in found) == known and len(found["channels"]) == 2
    for patches in found["channels"].values():
        first, second = patches
        assert first["value"] >= second["value"] and first["index"] != second["index"]
        assert all(one["box"][0] < one["box"][2] and one["box"][1] < one["box"][3] for one in patches)
    fields = [level["field"] for level in found["levels"]]
    least = 1 if family.startswith("video") else 2  # of clips one may be left
    assert len(fields) >= least and fields == sorted(fields)
    assert all(1 <= level["rank"] <= min(level["channels"], 6) for level in found["levels"])
    errors = [(one["error"], one["missed"]) for one in found["inversion"]]
    assert len(errors) == len(fields) and all(0 < error < 1 and missed >= 0 for error, missed in errors)


def assert_drawn(folder: Path, names: set[str]) -> None:
    """Assert that a folder has these figures and no others, and that none is blank."""
    assert {path.name for path in folder.iterdir()} == names
    for name in names:
        with Image.open(folder / name) as figure:
            assert np.asarray(figure.convert("RGB")).std() > 1, name
