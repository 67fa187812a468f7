"""Exports of all image tasks and formats, from fit to gate."""

import json
from pathlib import Path

import numpy as np
import pytest

from commands.export.runtime import OnnxModel
from tests.helpers.commands import TINY, values
from tests.helpers.images import save

pytestmark = pytest.mark.slow
SMALL = [*TINY, "--model.backbone", "test_resnet"]


SIZES = [(50, 40), (48, 64), (33, 90), (64, 96), (40, 64)]  # one fits the network, one is only narrower


@pytest.fixture(scope="module")
def segmented(fit_once, tmp_path_factory) -> Path:
    root, random = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    for split, count in (("train", 48), ("val", 8), ("test", 16)):
        for i in range(count):
            size = SIZES[i % len(SIZES)]
            mask = np.zeros(size, np.uint8)
            mask[size[0] // 3 :, size[1] // 4 : size[1] // 2] = 1
            image = np.where(mask[..., None] == 1, 180, 60) + random.integers(-50, 50, (*size, 3))
            save(image.astype(np.uint8), root / "images" / split / f"{i}.png")
            save(mask, root / "masks" / split / f"{i}.png")
    data = ["--data", "SegmentationFolder", "--data.root", str(root), "--data.image_size", "[48,64]"]
    rest = (
        "--data.workers 0 --data.batch_size 8 --trainer.max_epochs 2 --figures.samples 1 --trainer.precision 32".split()
    )
    backbone = ["--model.backbone", "test_resnet"]
    return fit_once("--config", "tasks/semantic_segmentation.yaml", *data, *rest, *backbone)


def report(folder: Path, name: str) -> dict:
    return json.loads((folder / "export_report.json").read_text())[name]


@pytest.mark.parametrize("typed", [[], ["--model.tta.flip", "true"], ["--model.tile_size", "32"]])
def test_semantic_segmentation_answers_at_the_original_size(graft, segmented, typed):
    assert graft("export", "--ckpt_path", str(segmented), "--out", "seg.onnx", *typed) == (0, "")
    found = report(Path(), "seg.onnx")
    assert found["differences"]["mask"]["agreement"] >= 0.9999
    assert found["metrics"]["onnx"]["test/miou"] == pytest.approx(found["metrics"]["PyTorch"]["test/miou"], abs=1e-4)
    (answer,) = OnnxModel(Path("seg.onnx"))([np.zeros((70, 35, 3), np.uint8)])
    assert answer["mask"].shape == (70, 35) and answer["mask"].dtype == np.uint8


def test_images_of_their_own_size_need_no_resizing(graft, segmented):
    typed = ["--data.image_size", "null", "--out", "own.onnx"]
    assert graft("export", "--ckpt_path", str(segmented), *typed) == (0, "")
    (answer,) = OnnxModel(Path("own.onnx"))([np.zeros((70, 45, 3), np.uint8)])
    assert answer["mask"].shape == (70, 45)


def test_tests_by_a_file_leave_the_same_results_figures_and_tables(graft, fit_once):
    run = fit_once("--config", "tasks/semantic_segmentation.yaml", *SMALL)
    assert graft("export", "--ckpt_path", str(run), "--out", "seg.onnx") == (0, "")
    for name, weights in {"torch": ["--ckpt_path", str(run)], "file": ["--onnx", "seg.onnx"]}.items():
        assert graft("test", *weights, "--trainer.precision", "32", "--run_dir", name) == (0, "")
    ours, theirs = values("torch"), values("file")
    assert theirs == pytest.approx({name: ours[name] for name in theirs}, abs=1e-3) and "test/miou" in theirs
    kept = [{p.name for p in Path(name).rglob("*.*") if p.suffix in (".png", ".csv")} for name in ("torch", "file")]
    assert kept[0] - {"metrics.csv"} == kept[1] - {"metrics.csv"} and "test_mistakes.png" in kept[1]


def test_predict_by_a_file_writes_the_same_maps(graft, segmented):
    assert graft("export", "--ckpt_path", str(segmented), "--out", "seg.onnx")[0] == 0
    import cv2

    folder = Path("photos")
    folder.mkdir()
    random = np.random.default_rng(0)
    for i, size in enumerate([(50, 40), (64, 64), (33, 90)]):
        cv2.imwrite(str(folder / f"{i}.png"), random.integers(0, 256, (*size, 3), np.uint8))
    data = ["--data", "UnlabeledImages", "--data.root", "photos", "--data.workers", "0"]
    assert graft("predict", "--onnx", "seg.onnx", *data, "--run_dir", "quick")[0] == 0
    whole = ["--trainer.precision", "32"]
    assert graft("predict", "--onnx", "seg.onnx", *data, *whole, "--run_dir", "whole")[0] == 0
    assert graft("predict", "--ckpt_path", str(segmented), *data, *whole, "--run_dir", "torch")[0] == 0
    files = {p.relative_to("torch") for p in Path("torch/predictions").rglob("*") if p.is_file()}
    for run in ("quick", "whole"):
        assert {p.relative_to(run) for p in Path(run, "predictions").rglob("*") if p.is_file()} == files
        for i in range(3):
            ours, theirs = (cv2.imread(f"{name}/predictions/masks/{i}.png", -1) for name in ("torch", run))
            assert np.mean(ours != theirs) < 1e-3


@pytest.mark.parametrize("config", ["simclr", "dino", "rotation", "autoencoder"])
def test_pretraining_gives_features(graft, refused, fit_once, config):
    run = fit_once("--config", f"tasks/{config}.yaml", *SMALL)
    assert graft("export", "--ckpt_path", str(run), "--out", "features.onnx") == (0, "")
    assert report(Path(), "features.onnx")["differences"]["features"]["relative"] <= 1e-3
    refused(2, ["test", "--onnx", "features.onnx"], "features.onnx", "predict", "evaluate --ckpt_path")


@pytest.mark.parametrize(
    "typed", [["--half"], ["--quantize", "static"], ["--format", "pt2"], ["--format", "pt2", "--half"], ["--features"]]
)
def test_formats_and_precisions(graft, trained, typed):
    assert graft("export", "--ckpt_path", str(trained), "--out", "out/model", *typed) == (0, "")
    found = report(Path("out"), "model")
    assert found["precision"] == {"--half": "float16", "--quantize": "int8"}.get(typed[-2:][0], found["precision"])
    assert found["samples"] >= 64 and not found["refused"]


def test_a_sigmoid_per_class(graft, fit_once):
    run = fit_once(
        "--config", "tasks/classification.yaml", *SMALL, "--model.head", "Linear", "--model.head.loss", "binary"
    )
    assert graft("export", "--ckpt_path", str(run), "--out", "model.onnx") == (0, "")
    (answer,) = OnnxModel(Path("model.onnx"))([np.zeros((32, 32, 3), np.uint8)])
    assert not np.isclose(answer["scores"].sum(), 1)


ONE_STAGE = [
    "--model.head RetinaNet --model.head.anchor_sizes null --model.neck FPN --model.neck.channels 64 "
    "--model.neck.levels 3 --model.neck.extra p6p7",
    "--model.head FCOS --model.neck FPN --model.neck.channels 64 --model.neck.levels 3 --model.neck.extra p6p7",
    "--model.head SSD --model.neck NoNeck",
]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("config", "typed"),
    [*(("detection", typed) for typed in ONE_STAGE), ("detection", ""), ("instance_segmentation", "")],
)
def test_detectors_answer_alike_and_write_the_same_files(graft, fit_once, config, typed):
    sizes = "--data.train 48 --data.val 32 --data.test 32 --data.workers 0 --data.batch_size 8".split()
    rest = "--trainer.max_epochs 2 --figures.samples 1 --trainer.precision 32".split()
    run = fit_once("--config", f"tasks/{config}.yaml", *sizes, *rest, *typed.split())
    assert graft("export", "--ckpt_path", str(run), "--out", "objects.onnx") == (0, "")
    found = report(Path(), "objects.onnx")
    assert found["differences"]["objects"]["agreement"] >= 0.999 and found["differences"]["scores"]["relative"] <= 1e-3
    ours, theirs = (found["metrics"][name]["test/map"] for name in ("PyTorch", "onnx"))
    assert theirs == pytest.approx(ours, abs=1e-3)
    import cv2

    Path("photos").mkdir()
    random = np.random.default_rng(0)
    for i, size in enumerate([(50, 40), (64, 64), (33, 90)]):
        cv2.imwrite(f"photos/{i}.png", random.integers(0, 256, (*size, 3), np.uint8))
    data = ["--data", "UnlabeledImages", "--data.root", "photos", "--data.workers", "0"]
    assert graft("predict", "--onnx", "objects.onnx", *data, "--run_dir", "quick")[0] == 0
    assert graft("predict", "--ckpt_path", str(run), *data, "--trainer.precision", "32", "--run_dir", "torch")[0] == 0
    first, second = ({p.relative_to(run) for p in Path(run).rglob("predictions/**/*")} for run in ("quick", "torch"))
    assert first == second
    name = "predict_bbox.json" if config == "instance_segmentation" else "predict.json"
    quick, torch = (json.loads(Path(run, "predictions", name).read_text()) for run in ("quick", "torch"))
    assert len(quick) == len(torch)
    assert [one["score"] for one in quick] == pytest.approx([one["score"] for one in torch], abs=1e-4)
    assert graft("test", "--onnx", "objects.onnx", "--trainer.precision", "32", "--run_dir", "tested")[0] == 0
    assert values("tested")["test/map"] == pytest.approx(ours, abs=1e-3)
