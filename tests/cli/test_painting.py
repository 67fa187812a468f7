"""`stylize`, `dream` and fast style transfer from the command line: files that they write, and bad input."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks import style as benchmark
from tests.helpers.commands import TINY
from tests.helpers.filmed import film, whole
from tests.helpers.images import save

SMALL = "--model.backbone.channels [8,12,16] --model.width 4 --model.blocks 1 --data.batch_size 8".split()
NETWORK = ["--model.backbone", "UNetEncoder", "--model.backbone.channels", "[8,12]", "--model.backbone.norm", "false"]


@pytest.fixture
def images(tmp_path) -> list[str]:
    """Files of a content of 40 x 30 pixels and of two styles."""
    random = np.random.default_rng(0)
    sizes = {"photo.png": (30, 40), "one.png": (24, 24), "two.jpg": (20, 50)}
    return [str(save(random.integers(0, 256, (*size, 3), np.uint8), tmp_path / name)) for name, size in sizes.items()]


@pytest.fixture(scope="session")
def painter(fit_once) -> Path:
    """The run directory of a tiny fast style transfer."""
    return fit_once("--config", "tasks/fast_style.yaml", *TINY, *SMALL)


def test_stylize_writes_the_image_and_its_figure(graft, images, capsys):
    content, one, two = images
    typed = ["stylize", "--content", content, "--style", f"{one},{two}", "--style_weights", "1,2", *NETWORK]
    assert graft(*typed, "--size", "32", "--steps", "4", "--out", "made", "--color", "luminance")[0] == 0
    with Image.open("made/photo_one_two.png") as image:
        assert image.size == (32, 24)
    assert Path("made/photo_one_two_steps.png").is_file()
    assert capsys.readouterr().out.endswith(f"--model.styles '[{one}, {two}]'\n")
    again = [
        "stylize",
        "--content",
        content,
        "--style",
        one,
        *NETWORK,
        "--size",
        "0",
        "--steps",
        "2",
        "--init",
        "noise",
    ]
    assert graft(*again, "--optimizer", "adam", "--color", "histogram")[0] == 0
    with Image.open("photo_one.png") as image:
        assert image.size == (40, 30)


def test_dream_writes_an_image_and_a_film(graft, images, trained):
    typed = ["dream", "--image", images[0], "--ckpt_path", str(trained), "--size", "48", "--octaves", "2"]
    assert graft(*typed, "--steps", "1", "--layer", "layer1", "--channel", "2", "--film", "3")[0] == 0
    with Image.open("photo_layer1_2.png") as image:
        assert image.size == (48, 36)
    assert whole(Path("photo_layer1_2.mp4")).shape == (3, 36, 48, 3)


def test_fast_style_paints_folders_and_videos(graft, painter, images):
    Path("photos/sub").mkdir(parents=True)
    Path(images[0]).rename("photos/a.png")
    Path(images[2]).rename("photos/sub/b.jpg")
    run = ["predict", "--ckpt_path", str(painter), "--data.workers", "0", "--trainer.precision", "32"]
    assert graft(*run, "--data", "UnlabeledImages", "--data.root", "photos", "--run_dir", "out")[0] == 0
    for style in ("strokes", "mosaic"):
        for name, size in {"a": (40, 30), "sub/b": (50, 20)}.items():
            with Image.open(f"out/predictions/stylized/{style}/{name}.png") as image:
                assert image.size == size
    film(Path("films/a.mp4"), 5, size=(32, 40), times=[0, 40, 80, 200, 240])
    film(Path("films/b.avi"), 3, size=(24, 32))
    typed = [*run, "--data", "VideoStream", "--data.root", "films", "--data.batch_size", "2", "--model.mix", "[1,1]"]
    assert graft(*typed, "--run_dir", "moved")[0] == 0
    assert whole(Path("moved/predictions/stylized/mix/a.mp4")).shape == (5, 32, 40, 3)
    assert whole(Path("moved/predictions/stylized/mix/b.mp4")).shape == (3, 24, 32, 3)


def test_a_run_is_judged_beside_optimization(painter, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    typed = ["--ckpt_path", str(painter), "--photographs", "3", "--steps", "2", "--images", "made.png"]
    rows = {row["what"]: row for row in benchmark.main(typed)["rows"]}
    weights = {"style": 3.0, "content": 1.0}
    for side in ("ours", "peer"):
        parts = np.array([rows[name][side] for name in weights])
        assert (rows["total"][side] > np.array(list(weights.values())) @ parts).all()  # and total variation
    ratio = sum(rows["total"]["ours"]) / sum(rows["total"]["peer"])
    assert f", {ratio:.2f} times [" in next(
        row for row in capsys.readouterr().out.splitlines() if row.startswith("total")
    )
    with Image.open("made.png") as image:
        assert image.size[0] == image.size[1] == 3 * 34 + 2


@pytest.mark.parametrize(
    ("code", "typed", "names"),
    [
        (2, [], ["network", "--ckpt_path"]),
        (2, [*NETWORK, "--style_levels", "0,5"], ["level 5", "stride"]),
        (2, [*NETWORK, "--style_levels", "a"], ["--style_levels", "'a'"]),
        (2, [*NETWORK, "--style_weights", "1,2"], ["--style_weights", "'1,2'"]),
        (2, [*NETWORK, "--style_weight", "-1"], ["--style_weight", "-1"]),
        (2, [*NETWORK, "--steps", "0"], ["--steps", "0"]),
        (2, [*NETWORK, "--color", "gray"], ["--color", "gray"]),
        (2, ["--model.backbone", "resnet19"], ["resnet19", "resnet18"]),
        (2, ["--model.backbone", "test_resnet", "--size", "8"], ["--content", "--size"]),
        (2, [*NETWORK, "--model.depth", "3"], ["model.depth"]),
        (1, [*NETWORK, "--style", "none.jpg"], ["--style", "none.jpg"]),
        (1, [*NETWORK, "--style", "notes.txt"], ["--style", "notes.txt"]),
        (1, [*NETWORK, "--model.weights", "none"], ["none"]),
    ],
)
def test_what_stylize_cannot_use_is_named(refused, images, code, typed, names):
    Path("notes.txt").write_text("no image")
    refused(code, ["stylize", "--content", images[0], "--style", images[1], *typed], *names)


def test_a_checkpoint_without_backbone_is_refused(refused, trained, monkeypatch):
    translation = SimpleNamespace(task=object(), name="Translation", checkpoint=trained)
    monkeypatch.setattr("commands.network.Predictor.load", lambda *words: translation)
    refused(2, ["dream", "--ckpt_path", str(trained)], "--ckpt_path", "Translation", "no backbone")


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        (["--layer", "layr1"], ["layr1", "layer1"]),
        (["--layer", "layer1", "--channel", "9999"], ["--channel", "9999"]),
        (["--octaves", "0"], ["--octaves", "0"]),
        (["--zoom", "0.5"], ["--zoom", "0.5"]),
        (["--size", "4"], ["--image", "--size"]),
        (["--trainer.precision", "bf16"], ["--trainer.precision", "bf16", "dream"]),
    ],
)
def test_what_dream_cannot_use_is_named(refused, trained, typed, names):
    refused(2, ["dream", "--ckpt_path", str(trained), "--size", "48", *typed], *names)
