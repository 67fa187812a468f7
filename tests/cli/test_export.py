"""`export` writes a file that answers as PyTorch does, or none; `predict` and `test` run it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from commands.export import command, onnx_file
from commands.export.runtime import ImageModel, OnnxModel
from commands.predictor import Predictor
from commands.serve.exported import ExportedPredictor
from modules.contracts import DataError
from modules.export import graph, preprocess
from tests.helpers.bad_requests import encoded
from tests.helpers.commands import ROOT, values
from tests.helpers.errors import refuses
from tests.helpers.minimal import minimal


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """A folder of images of several sizes."""
    folder, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for i, size in enumerate([(40, 50), (32, 32), (90, 33)]):
        Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


def test_the_gate_reports_both_and_the_file_tells_what_it_is(trained, exported):
    report = json.loads((exported.parent / "export_report.json").read_text())["model.onnx"]
    assert report["samples"] >= 64 and report["refused"] == []
    assert report["differences"]["label"]["agreement"] == 1
    assert report["differences"]["scores"]["relative"] <= 1e-3
    ours, theirs = report["metrics"]["PyTorch"], report["metrics"]["onnx"]
    assert ours["test/accuracy"] == theirs["test/accuracy"] == pytest.approx(values(trained)["test/accuracy"], abs=1e-6)
    assert str(ROOT).encode() not in exported.read_bytes()
    about = OnnxModel(exported).metadata
    assert about["task"] == "Classification" and about["data_license"] == "CC0"
    assert about["preprocessing"] == {"kind": "center_crop", "size": [32, 32]}
    assert {row["metric"] for row in about["results"]} >= {"test/accuracy"}


def test_predict_and_test_write_the_same_files(graft, trained, exported, photos, capsys):
    folder = ["--data", "UnlabeledImages", "--data.root", str(photos), "--data.workers", "0"]
    weights = ["--ckpt_path", str(trained), "--trainer.precision", "32"]
    assert graft("predict", *weights, *folder, "--run_dir", "predict_torch") == (0, "")
    assert graft("predict", "--onnx", str(exported), *folder, "--run_dir", "predict_onnx") == (0, "")
    texts = (Path(f"predict_{name}/predictions/predict.csv").read_text() for name in ("torch", "onnx"))
    ours, theirs = (list(csv.reader(text.splitlines())) for text in texts)
    assert [row[:2] for row in ours] == [row[:2] for row in theirs] and len(ours) == 4
    numbers = (np.array([row[2:] for row in rows[1:]], float) for rows in (ours, theirs))
    assert np.abs(np.subtract(*numbers)).max() < 1e-4
    assert graft("test", "--onnx", str(exported), "--run_dir", "test") == (0, "")
    assert f"predict --onnx {exported} --data UnlabeledImages" in capsys.readouterr().out
    said = json.loads(Path("test/results.json").read_text())
    assert said["test weights"].startswith("model.onnx in float32, of epoch") and said["precision"] == "32-true"
    ours, theirs = values(trained), values("test")
    assert theirs == pytest.approx({name: ours[name] for name in theirs}, abs=1e-4) and "test/accuracy" in theirs
    tested = [{p.name for p in (run / "predictions").glob("test*")} for run in (trained, Path("test"))]
    assert tested[0] == tested[1] and "test.csv" in tested[0]


def test_a_served_file_answers_as_the_run(trained, exported):
    files = [encoded(form, size) for form in ("PNG", "JPEG") for size in ((40, 30), (32, 32))]
    ours, theirs = ExportedPredictor(exported), Predictor.load(trained, "--trainer.precision", "32")
    found = ours.predict([ours.prepare(file) for file in files])
    for one, other in zip(found, theirs(files), strict=True):
        assert one["label"] == other["label"] and one["scores"] == pytest.approx(other["scores"], abs=1e-4)
    assert (ours.classes, ours.name, ours.kind) == (theirs.classes, theirs.name, theirs.kind)
    with refuses(DataError, "image"):
        ours.prepare(files[0][:99])


def test_files_that_need_the_data_module_go_the_whole_way(graft, exported, tmp_path):
    deep = np.linspace(0, 4095, 40 * 50).reshape(40, 50).astype(np.uint16)
    (tmp_path / "deep").mkdir()
    Image.fromarray(deep).save(tmp_path / "deep" / "a.png")
    typed = ["predict", "--onnx", str(exported), "--data", "UnlabeledImages", "--data.root", "deep"]
    run = [sys.executable, str(ROOT / "cli.py"), *typed, "--data.workers", "0", "--run_dir", "run"]
    assert subprocess.run(run, cwd=tmp_path, capture_output=True, timeout=120).returncode == 0
    assert (tmp_path / "run" / "config.yaml").is_file()  # of the whole way
    assert (tmp_path / "run" / "predictions" / "predict.csv").is_file()


def test_the_minimal_example_needs_neither_torch_nor_this_program(exported, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = sorted(photos.iterdir())
    said, model = minimal(str(exported), *map(str, files)).splitlines(), OnnxModel(exported)
    images = [np.asarray(Image.open(path)) for path in files]
    labels = [model.classes[answer["label"]] for answer in model(images)]
    assert [line.split(": ")[1].split(" (")[0] for line in said] == labels
    Image.fromarray(np.full((40, 40), 999, np.uint16)).save("deep.png")
    assert "deep.png has more than 8 bits" in minimal(str(exported), "deep.png", code=1)
    assert minimal(str(exported), "none.jpg", code=1) == "error: [Errno 2] No such file or directory: 'none.jpg'\n"


class Eager(ImageModel):
    """A graph run by torch, as the file would be."""

    graphs: dict[Path, tuple] = {}

    def __init__(self, path, threads):
        self.module, text = self.graphs[path]
        super().__init__(path, json.dumps(text))

    def outputs(self, inputs):
        with torch.inference_mode():
            return [out.numpy() for out in self.module(*map(torch.from_numpy, inputs.values()))]


def wrong_mean(patch):
    patch.setattr(graph.Normalize, "forward", lambda self, image: (image - 0.9 * self.mean) / self.std)


def swapped_channels(patch):
    right = graph.ImageGraph.forward
    patch.setattr(graph.ImageGraph, "forward", lambda self, image: right(self, image.flip(-1)))


def another_resize(patch):
    def nearest(image, resized, rows, columns):
        for axis, places in enumerate((rows, columns)):
            length = image.shape[1 + axis]
            image = image.index_select(1 + axis, (places * length / resized[axis]).long().clamp(max=length - 1))
        return image.permute(0, 3, 1, 2).float()

    patch.setattr(preprocess, "linear", nearest)


@pytest.mark.parametrize("sabotage", [None, wrong_mean, swapped_channels, another_resize])
def test_a_sabotaged_export_is_refused(graft, trained, tmp_path, monkeypatch, sabotage):
    def write(made, path, metadata, name):
        Eager.graphs[path] = made.module, metadata
        path.touch()

    monkeypatch.setattr(onnx_file, "write_onnx", write)
    monkeypatch.setattr(command, "OnnxModel", Eager)
    if sabotage:
        sabotage(monkeypatch)
    code, said = graft("export", "--ckpt_path", str(trained), "--out", "model.onnx")
    assert (code, Path("model.onnx").exists()) == ((1, False) if sabotage else (0, True)), said
    assert not list(Path().glob(".export*"))  # nor where images have the size of the network, as here
    if sabotage:
        assert ("model.onnx" in said and "label" in said) or "scores" in said


@pytest.mark.parametrize(
    ("code", "typed", "names"),
    [
        (2, "--format tflite", ["--format", "tflite", "onnx"]),
        (2, "--half --quantize static", ["--half", "--quantize"]),
        (2, "--format pt2 --quantize static", ["--quantize", "pt2"]),
        (2, "--frmat onnx", ["--frmat", "--format"]),
        (2, "--out best.ckpt", ["--out", "best.ckpt", ".onnx"]),
        (2, "--out few", ["--out", "few", ".onnx"]),
        (1, "--out few/a.png/model --format pt2", ["few/a.png/model", "--out"]),
        (1, "--images nowhere --format pt2", ["--images", "nowhere"]),
        (1, "--images few --format pt2", ["--images", "few", 64]),
    ],
)
def test_bad_input_of_export(refused, trained, tmp_path, code, typed, names):
    (tmp_path / "few").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "few" / "a.png")
    refused(code, ["export", "--ckpt_path", str(trained), "--out", "out/model", *typed.split()], *names)


def test_bad_input_of_files(refused, exported, tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    refused(1, ["predict", "--onnx", "nothing.onnx", "--data", "Shapes"], "nothing.onnx")
    refused(1, ["predict", "--onnx", "text.onnx", "--data", "Shapes"], "text.onnx")
    refused(2, ["test", "--onnx", str(exported), "--ckpt_path", "latest"], "--onnx", "--ckpt_path")
    typed = ["test", "--onnx", str(exported), "--config", "tasks/semantic_segmentation.yaml"]
    refused(2, typed, "Classification", "SemanticSegmentation")
    refused(2, ["export", "--format", "onnx"], "--ckpt_path")
    for own in (["--data.image_size", "64"], ["--model.head.loss", "binary"], ["--model.tta.flip=true"]):
        typed = ["predict", "--onnx", str(exported), "--data", "UnlabeledImages", "--data.root", "photos", *own]
        refused(2, typed, own[0].partition("=")[0], exported)


CHANGES = {
    "format": "1",
    "task": 3,
    "classes": ["one"],
    "outputs": ["label", "nothing"],
    "settings": None,
    "run": {"name": "../../elsewhere", "epoch": 1},
    "train": {"model": {}, "data": {}, "meaning": [1]},
    "kind": "smell",
    "parts": {"decoder": "../model.onnx"},
    "threshold": "high",
}


def test_changed_metadata_are_named(exported, tmp_path):
    import onnx

    model = onnx.load(str(exported))
    about, path = json.loads(model.metadata_props[-1].value), tmp_path / "changed.onnx"
    for text in [json.dumps(about | {name: value}) for name, value in CHANGES.items()] + ["[" * 50_000, "[]"]:
        onnx.helper.set_model_props(model, {"graft": text})
        onnx.save(model, str(path))
        with refuses(DataError, path):
            OnnxModel(path)


def test_a_missing_package_is_named_with_its_extra(refused, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    refused(2, ["export", "--ckpt_path", str(trained)], "onnxruntime", "graft[export]")
