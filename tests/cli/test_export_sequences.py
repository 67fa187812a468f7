"""Exports of tasks whose samples are no single images: videos and noise."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.helpers.commands import values
from tests.helpers.minimal import minimal

SHORT = (
    "--data.workers 0 --trainer.max_epochs 1 --figures.samples 1 --trainer.precision 32 --trainer.logger false".split()
)
VIDEO = "--config tasks/video.yaml --data.train 16 --data.val 8 --data.test 64 --data.frames 4".split()
VIDEO += "--data.image_size 32 --data.batch_size 8".split()
GAN = "--config tasks/gan.yaml --data.train 32 --data.val 8 --data.test 8 --data.batch_size 8".split()
GAN += "--data.image_size 16 --model.generator.width 4 --model.discriminator.width 4 --model.latent 8".split()
GAN += ["--trainer.callbacks", "null"]


def report() -> dict:
    return json.loads(Path("export_report.json").read_text())["model.onnx"]


@pytest.mark.slow
def test_videos_are_answered_by_their_views(graft, fit_once):
    run = fit_once(*VIDEO, *SHORT)
    assert graft("export", "--ckpt_path", str(run), "--out", "model.onnx") == (0, "")
    found = report()
    assert found["differences"]["label"]["agreement"] == 1 and found["differences"]["scores"]["relative"] <= 1e-3
    assert found["metrics"]["onnx"] == pytest.approx(found["metrics"]["PyTorch"])
    assert graft("test", "--onnx", "model.onnx", "--run_dir", "test", "--trainer.precision", "32") == (0, "")
    ours, theirs = values(run), values("test")
    assert theirs == pytest.approx({name: ours[name] for name in theirs}, abs=1e-6) and "test/accuracy" in theirs


def test_a_generator_makes_the_same_images(graft, fit_once):
    run = fit_once(*GAN, *SHORT, "--model.ema_decay", "0.9")
    assert graft("export", "--ckpt_path", str(run), "--out", "model.onnx") == (0, "")
    assert report()["differences"]["generated"]["agreement"] == 1
    for name, weights in {"torch": ["--ckpt_path", str(run)], "onnx": ["--onnx", "model.onnx"]}.items():
        made = ["--data", "LatentSamples", "--data.count", "5", "--run_dir", name]
        assert graft("predict", *weights, *made, "--trainer.precision", "32") == (0, "")
    files = sorted(path.relative_to("torch") for path in Path("torch/predictions").glob("*/*.png"))
    assert len(files) == 5
    for file in files:
        ours, theirs = (cv2.imread(str(Path(name, file))).astype(int) for name in ("torch", "onnx"))
        assert np.abs(ours - theirs).max() <= 1
    assert graft("export", "--ckpt_path", str(run), "--quantize", "static")[0] == 2
    assert graft("export", "--ckpt_path", str(run), "--half")[0] == 2
    assert minimal("model.onnx", "3").startswith("3: generated (16, 16, 3)")
    theirs = cv2.cvtColor(np.asarray(Image.open("3_generated.png")), cv2.COLOR_RGB2BGR).astype(int)
    assert np.abs(cv2.imread(str(Path("torch", files[3]))) - theirs).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["single", "mean", "max", "concat", "early", "slow", "lstm", "gru", "attention"])
def test_every_fusion_of_frames(graft, fit_once, fusion):
    run = fit_once(*VIDEO, *SHORT, "--model.fusion", fusion)
    code, said = graft("export", "--ckpt_path", str(run), "--out", "model.onnx")
    assert code == 0, said
    frames = [Image.fromarray(np.full((40, 50, 3), 20 * i, np.uint8)) for i in range(9)]
    frames[0].save("clip.gif", save_all=True, append_images=frames[1:])
    assert minimal("model.onnx", "clip.gif").startswith("clip.gif: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    "typed",
    [
        ["--model.condition", "null"],
        ["--model.condition", "embedding"],
        ["--config", "tasks/wgan.yaml", "--model.n_critic", "1"],
        ["--model.generator", "ResNetGenerator", "--model.generator.width", "4"],
    ],
)
def test_every_kind_of_generator(graft, fit_once, typed):
    run = fit_once(*GAN, *typed, *SHORT)
    assert graft("export", "--ckpt_path", str(run), "--out", "model.onnx") == (0, "")
    assert graft("test", "--onnx", "model.onnx", "--run_dir", "test", "--trainer.precision", "32") == (0, "")
