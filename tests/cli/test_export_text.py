"""Exports of translation and captioning, with every decoder."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.commands import values
from tests.helpers.minimal import minimal

pytestmark = pytest.mark.slow
SHORT = (
    "--data.workers 0 --trainer.max_epochs 1 --figures.samples 1 --trainer.precision 32 --trainer.logger false".split()
)
TRANSLATION = "--config tasks/translation.yaml --data.train 300 --data.val 20 --data.test 64".split()
TRANSLATION += "--model.encoder.width 32 --model.decoder.width 32 --model.search.max_length 12".split()
CAPTIONS = "--config tasks/captioning.yaml --data.train 64 --data.val 16 --data.test 64 --data.batch_size 16".split()
CAPTIONS += "--data.image_size 32 --model.search.max_length 8".split()


def said(sample: str) -> str:
    """Answer of the minimal example."""
    return minimal("model.onnx", sample).removesuffix("\n").partition(": ")[2]


def exported(graft, run: Path, *typed: str) -> dict:
    """Report of an export, whose file is tested too."""
    assert graft("export", "--ckpt_path", str(run), "--out", "model.onnx", *typed) == (0, "")
    found = json.loads(Path("export_report.json").read_text())["model.onnx"]
    assert found["differences"]["text"]["agreement"] == 1
    assert found["differences"]["log_probability"]["relative"] <= 1e-3
    assert found["metrics"]["onnx"] == pytest.approx(found["metrics"]["PyTorch"])
    assert graft("test", "--onnx", "model.onnx", "--run_dir", "test", "--trainer.precision", "32") == (0, "")
    theirs = values("test")
    assert "test/perplexity" not in theirs
    assert theirs["test/unfinished"] == pytest.approx(found["metrics"]["onnx"]["test/unfinished"])
    return found


@pytest.mark.parametrize("cell", ["", "gru", "lstm", "rnn"])
def test_translation(graft, fit_once, cell):
    recurrent = "--model.encoder RecurrentEncoder --model.decoder RecurrentDecoder".split()
    recurrent += ["--model.encoder.cell", cell, "--model.decoder.cell", cell]
    run = fit_once(*TRANSLATION, *SHORT, *(recurrent if cell else ()))
    search = ["--model.search.num_beams", "1"] if cell else ["--model.search.num_return_sequences", "2"]
    found = exported(graft, run, *search)  # barely trained recurrent decoders have near ties in their beams
    assert found["metrics"]["onnx"]["test/bleu"] >= 0 and ("alternatives" in found["differences"]) == (not cell)
    Path("in.txt").write_text("A red circle.\n")
    typed = ["--data", "TextFile", "--data.root", "in.txt", "--run_dir", "said", "--trainer.precision", "32"]
    code, error = graft("predict", "--onnx", "model.decoder.onnx", *typed)
    assert code == 1 and "model.decoder.onnx is one step" in error
    assert graft("predict", "--onnx", "model.onnx", *typed) == (0, "")
    assert said("A red circle.") == Path("said/predictions/predict.txt").read_text().removesuffix("\n")


@pytest.mark.parametrize("decoder", ["ShowAttendTell", "TransformerDecoder", "RecurrentDecoder"])
def test_captioning(graft, fit_once, decoder):
    run = fit_once(*CAPTIONS, *SHORT, "--model.decoder", decoder)
    exported(graft, run)
    Path("photos").mkdir()
    random = np.random.default_rng(0)
    for i, size in enumerate([(40, 50), (32, 32), (90, 33)]):
        Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(f"photos/{i}.png")
    typed = ["--data", "UnlabeledImages", "--data.root", "photos", "--data.workers", "0"]
    assert graft("predict", "--ckpt_path", str(run), *typed, "--trainer.precision", "32", "--run_dir", "torch")[0] == 0
    for name, more in {"quick": [], "whole": ["--trainer.precision", "32"]}.items():
        assert graft("predict", "--onnx", "model.onnx", *typed, *more, "--run_dir", name) == (0, "")
        ours, theirs = (Path(run, "predictions/predict.csv").read_text() for run in ("torch", name))
        assert ours == theirs
    assert said("photos/0.png") == Path("quick/predictions/predict.txt").read_text().split("\n")[0]


def test_what_cannot_be_exported_is_named(refused, fit_once):
    run = fit_once(*TRANSLATION, *SHORT)
    sampled = ["--model.search.temperature", "1"]
    refused(2, ["export", "--ckpt_path", str(run), *sampled], "model.search.temperature", "0")
    refused(2, ["export", "--ckpt_path", str(run), "--half"], "--half")
    refused(2, ["export", "--ckpt_path", str(run), "--quantize", "static"], "--quantize")
