"""The explain command: maps, figures and faithfulness of the predictions of a run, and what it refuses."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from callbacks import explanations
from tests.helpers.commands import TINY


def test_predictions_of_the_test_split_are_explained(graft, trained):
    code, _ = graft(
        *["explain", "--ckpt_path", str(trained), "--method", "gradcam,saliency,occlusion", "--count", "2"],
        *["--patch", "16", "--stride", "16", "--depths", "1", "--target", "hourglass", "--run_dir", "out"],
    )
    assert code == 0
    with np.load("out/maps.npz") as maps:
        assert maps["occlusion"].shape == maps["saliency"].shape == (2, 32, 32)
        assert maps["targets"].tolist() == ["hourglass"] * 2 and (maps["saliency"] > 0).any()
    shown = Image.open("out/figures/explained_0.png").size
    assert shown == (4 * 32 + 3, 32)  # the image and three overlays in its own resolution
    assert {"explanations.png", "faithfulness.png"} <= {path.name for path in Path("out/figures").iterdir()}
    rows = {row["metric"]: row for row in json.loads(Path("out/results.json").read_text())["results"]}
    assert rows["test/gradcam_deletion_below_random"]["interval"] and "test/saliency_randomized" in rows
    assert rows["test/gradcam_pointing"]["value"] in (0, 1)  # one of the two images has an hourglass
    assert -1 <= rows["test/occlusion_randomized"]["value"] <= 1


def test_what_cannot_be_explained_is_said_in_a_sentence(refused, trained):
    run = ["explain", "--ckpt_path", str(trained)]
    refused(2, [*run, "--method", "gradcan"], "--method", "'gradcan'", "'gradcam'")
    refused(2, [*run, "--target", "strar"], "--target", "'strar'", "'star'")
    refused(2, [*run, "--method", "gradcam", "--layer", "layer9"], "'layer9'", "'layer4'")
    refused(2, [*run, "--method", "rollout"], "rollout", "test_resnet")
    refused(2, [*run, "--method", "saliency", "--patch", "8"], "--patch", "saliency", "occlusion")
    refused(2, [*run, "--trainer.precision", "bf16-mixed"], "--trainer.precision", "bf16-mixed", "float32")
    refused(2, [*run, "--method", "occlusion", "--patch", "99"], "--patch", "99", "32")
    refused(2, ["explain"], "explain", "--ckpt_path")


def test_an_exported_file_is_explained_by_its_scores(graft, refused, exported):
    run = ["explain", "--onnx", str(exported)]
    refused(2, [*run, "--method", "gradcam"], "gradcam", "model.onnx", "occlusion")
    typed = ["--count", "2", "--patch", "16", "--stride", "16", "--masks", "8"]
    assert graft(*run, "--method", "occlusion,rise", *typed, "--run_dir", "out") == (0, "")
    with np.load("out/maps.npz") as maps:
        assert maps["occlusion"].shape == maps["rise"].shape == (2, 32, 32) and maps["occlusion"].any()
        assert ((maps["scores"] > 0.1) & (maps["scores"] <= 1)).all()  # the highest of several probabilities
    rows = [row["metric"] for row in json.loads(Path("out/results.json").read_text())["results"]]
    assert "test/occlusion_deletion_below_random" in rows and "test/occlusion_randomized" not in rows


def test_validation_samples_are_explained_during_training(graft, refused, monkeypatch):
    fit = ["fit", "--config", "tasks/classification.yaml", *TINY, "--run_dir", "run"]
    own = ["--trainer.callbacks+=Explanations", "--trainer.callbacks.samples", "2", "--trainer.callbacks.method"]
    refused(2, [*fit, *own, "[gradcan]"], "Explanations.method", "'gradcam'")
    refused(2, [*fit, *own, "[rollout]"], "rollout", "test_resnet")
    titles, draws = [], explanations.summary
    monkeypatch.setattr(explanations, "summary", lambda *typed: titles.append(typed[3]) or draws(*typed))
    assert graft(*fit, *own, "[gradcam]", "--trainer.max_steps", "3")[0] == 0
    assert Path("run/figures/explanations.png").exists()
    assert [title.rpartition("samples ")[2] for title in titles] == ["before training", "after 0 epochs, 3 steps"]
