"""Pretraining beside lightly's modules: each method runs on both sides, once; what misses its mark is marked."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from benchmarks import pretraining
from benchmarks.pretraining import METHODS, NONE, PEERED
from benchmarks.pretraining_report import LIGHTLY, OURS, Run, markdown, summarize
from modules.metrics.bootstrap import Items
from modules.metrics.bootstrap.records import means
from tests.helpers.errors import assert_named

lightly = pytest.mark.skipif(find_spec("lightly") is None, reason="lightly is not installed: it is the extra `bench`")
SMALL = "--batch_size 8 --workers 0 --epochs 1 --labels 64 --finetuning 1".split()


def classes(image_folder):
    return image_folder({"train/cat": 34, "train/dog": 34, "test/cat": 6, "test/dog": 6}, size=(32, 32))


@lightly
def test_a_method_and_its_peer_are_judged_and_not_trained_again(image_folder, tmp_path, monkeypatch, capsys):
    run = []  # in this process, as new ones take long
    monkeypatch.setattr(pretraining, "apart", lambda function, *given: run.append(function(*given)))
    argv = ["--root", str(classes(image_folder)), "--out", str(tmp_path / "out"), "--seeds", "1", *SMALL]
    argv += ["--methods", NONE, "vicreg", "--json", str(tmp_path / "found.json")]
    first = pretraining.main(argv)
    none, vicreg = first["rows"]
    assert not none["peer"] and vicreg["differences"].keys() == {"knn", "linear", "finetuned"}
    assert vicreg["ratios"][0] > 0 and vicreg["cpu_ratios"][0] > 0
    assert all(0 <= row["ours"]["finetuned"][0] <= 1 for row in first["rows"])
    assert_named(capsys.readouterr().out, "vicreg", "fine-tuned, 64 labels")
    assert len(run) == 6
    assert pretraining.main(argv)["rows"] == first["rows"] and len(run) == 6
    assert json.loads((tmp_path / "found.json").read_text())["rows"] == json.loads(json.dumps(first["rows"]))


@lightly
@pytest.mark.parametrize("method", [method for method in PEERED if method not in ("vicreg", "swav")])
def test_lightlys_parts_train_every_method(image_folder, tmp_path, method):
    setting = pretraining.Setting(classes(image_folder), 32, 1, 64, 1, 0, 8)
    watch = pretraining.lightly(method, 0, setting, tmp_path)
    assert len(watch.losses) == 8 and all(loss.isfinite() for loss in watch.losses)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_pretrained(image_folder, tmp_path, method):
    setting = pretraining.Setting(classes(image_folder), 32, 1, 64, 1, 0, 8)
    pretraining.pretrain(method, OURS, 0, setting, tmp_path)
    assert 0 <= json.loads((tmp_path / "run.json").read_text())["knn"] <= 1


def finished(side, seed, accuracy, images_per_s):
    """A run whose first answers are right."""
    right = (np.arange(1000) < 1000 * accuracy).astype(float)
    items = Items(np.arange(1000).astype(str), means({"knn": right, "linear": right}))
    facts = {"method": "simclr", "side": side, "seed": seed, "images_per_s": images_per_s}
    return Run(facts | {"images_per_cpu_s": images_per_s}, {"probes": items})


def test_seeds_are_paired_and_what_misses_its_mark_is_bold():
    runs = [finished(OURS, 0, 0.52, 400.0), finished(OURS, 1, 0.50, 410.0), finished(OURS, 2, 0.9, 1.0)]
    runs += [finished(LIGHTLY, 0, 0.55, 300.0), finished(LIGHTLY, 1, 0.53, 290.0)]
    (row,) = summarize(runs, ["simclr", "vicreg"])
    assert row.seeds == [0, 1] and row.ours["knn"].value == pytest.approx(0.51)
    assert row.differences["linear"].value == pytest.approx(-0.03)
    table = markdown([row], 1000)
    assert "**-3.0 [" in table and "405 / 295, 1.37 (CPU time 1.37)" in table and "**405" not in table
