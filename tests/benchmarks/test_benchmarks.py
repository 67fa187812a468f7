"""Every benchmark runs from end to end in tiny form; what it measures is not judged here."""

import csv
import json
import mmap
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coco_mask
from PIL import Image

from benchmarks import (
    coverage,
    decoding,
    detection,
    detectors,
    detr,
    duplicates,
    evaluation,
    explanations,
    export,
    flags,
    folding,
    label_errors,
    lora,
    memory,
    mixing,
    near_sentences,
    overhead,
    policies,
    pretraining,
    rcnn,
    report,
    robustness,
    samplers,
    segmentation,
    serving,
    simclr_loop,
    sliding_window,
    startup,
    style,
    techniques,
    translation,
    views,
    zoo,
)
from benchmarks.batches import Batches
from benchmarks.fits import TASKS, fitted
from benchmarks.report import Comparison, in_pairs
from benchmarks.technique_report import UNCLEAR, Row, markdown
from benchmarks.technique_rows import TECHNIQUES, Technique
from commands.fit import CLI
from modules.metrics.bootstrap import Estimate
from tests.helpers.commands import TINY
from tests.helpers.errors import assert_named, line_naming, refuses
from tests.helpers.filmed import film

lightly = pytest.mark.skipif(find_spec("lightly") is None, reason="lightly is not installed: it is the extra `bench`")

joeynmt = pytest.mark.skipif(
    find_spec("joeynmt") is None, reason="JoeyNMT is not installed: see benchmarks.translation"
)


def written(path: Path) -> dict:
    """The JSON of a benchmark, which names the machine and the versions."""
    result = json.loads(path.read_text())
    assert result["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert result["threads"] >= 1
    assert "cores" in result["machine"]
    return result


@lightly
def test_views_compares_with_lightly_at_every_size(tmp_path, capsys):
    threads = torch.get_num_threads()
    views.main(["--sizes", "16", "80", "--images", "6", "--repeats", "2", "--json", str(tmp_path / "views.json")])
    rows = written(tmp_path / "views.json")["rows"]
    of_one = 4 if torch.cuda.is_available() else 3
    assert [row["what"].partition(" px")[0] for row in rows] == ["16"] * of_one + ["80"] * of_one
    assert all(len(row["ours"]) == len(row["peer"]) == 2 for row in rows)
    assert rows[0]["peer"] == rows[1]["peer"]
    assert [row["mark"] for row in rows[:of_one]] == [">= 2.5", *[""] * (of_one - 1)]
    said = capsys.readouterr().out
    assert "80 px" in said
    assert ("n/a" in said) != torch.cuda.is_available()
    assert torch.get_num_threads() == threads


@lightly
def test_views_takes_any_folder_of_images(image_folder):
    root = image_folder({"train/cat": 2, "train/dog": 2})
    result = views.main(["--root", str(root), "--sizes", "16", "--images", "5", "--repeats", "1"])
    assert result["root"] == str(root)


def test_views_can_be_made_on_a_device_that_holds_the_images(image_folder):
    root = image_folder({"train/cat": 3, "train/dog": 2})
    assert views.ours(root, 16, 10, normalize=True, device="cpu", held=True) > 0


def test_views_generates_images_as_large_as_their_use_needs():
    for size, shape in ((32, (32, 32)), (224, (320, 240))):
        with views.generated(size, 2) as root:
            files = sorted(root.iterdir())
            assert [Image.open(file).size for file in files] == [shape] * 2
            assert Image.open(files[0]).format == "JPEG"


@pytest.mark.parametrize(
    ("benchmark", "names"),
    [
        (views, ("lightly", '".[bench]"')),
        (pretraining, ("lightly", '".[bench]"')),
        (evaluation, ("pycocotools", '".[bench]"')),
        (translation, ("JoeyNMT", "joeynmt==2.3.0", "--no-deps")),
    ],
    ids=["views", "pretraining", "evaluation", "translation"],
)
def test_a_peer_that_is_not_installed_is_named_with_what_installs_it(benchmark, names, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        benchmark.main(["--root", str(tmp_path)] if benchmark in (pretraining, translation) else [])
    assert_named(capsys.readouterr().err, *names)


@pytest.mark.parametrize("task", ["classification", "simclr"])
def test_overhead_trains_the_same_on_both_sides(task, tmp_path):
    path, environment, argv = tmp_path / "overhead.json", dict(os.environ), sys.argv[:]
    overhead.main(f"--tasks {task} --steps 2 --repeats 1 --batch_size 8 --json {path}".split())
    wall, process = written(path)["rows"]
    assert (wall["what"], wall["mark"]) == (f"{task}, batch 8", ">= 0.95")
    assert min(wall["ours"] + wall["peer"] + process["ours"] + process["peer"]) > 0
    assert (dict(os.environ), sys.argv) == (environment, argv)


@pytest.mark.parametrize(("task", "data"), [("classification", {}), ("simclr", {"views": 2})])
def test_the_plain_loop_has_the_losses_of_the_trainer(task, data, monkeypatch):
    losses = []
    monkeypatch.setattr(overhead.Stopwatch, "run", lambda watch: losses.append([x.item() for x in watch.losses]))
    for side in (overhead.ours, overhead.plain):
        side(task, data | {"steps": 6, "batch_size": 8, "image_size": 32}, "cpu")
    assert len(losses[0]) == 6
    assert losses[0] == losses[1]


def test_flags_measures_each_against_the_yaml_as_shipped(monkeypatch):
    monkeypatch.setitem(flags.FLAGS, "--model.compile true", {"--trainer.max_epochs": "1"})  # compiling takes a minute
    result = flags.main(["--image_size", "32", "--batch_size", "8", "--steps", "2", "--repeats", "1"])
    assert [row["what"] for row in result["rows"]] == list(flags.FLAGS)
    assert all(row["ours"][0] > 0 for row in result["rows"])


def test_overhead_of_logging_is_that_of_all_loggers_beside_the_csv_alone(monkeypatch):
    seen = []
    monkeypatch.setattr(overhead, "ours", lambda *given: seen.append(given[3:]) or overhead.Run(1, 1, loss=2.0))
    (wall, _) = overhead.measure("classification", 2, 8, 1, "cpu", logging=True)
    everything = ({"--tensorboard": "true", "--mlflow": "true"}, "offline")
    assert (wall.mark, seen) == (">= 0.98", [everything, everything, ()])


def test_overhead_notices_when_the_sides_differ(monkeypatch):
    monkeypatch.setattr(overhead, "plain", lambda *_: overhead.Run(1, 1, loss=3.0))
    monkeypatch.setattr(overhead, "ours", lambda *_: overhead.Run(1, 1, loss=2.0))
    with refuses(RuntimeError, "classification", 2.0, 3.0):
        overhead.measure("classification", 2, 8, 1, "cpu")


def test_batches_come_round_again_unchanged():
    loader = Batches(steps=6, image_size=8, views=2, batch_size=3).train_dataloader()
    first, again = list(loader), list(loader)
    assert len(first) == len(again) == 6
    assert torch.equal(first[0]["views"][1], again[4]["views"][1])
    assert first[0]["views"][0].dtype == torch.uint8
    assert first[0]["views"][0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.slow
def test_startup_compares_processes(tmp_path):
    startup.main(["--repeats", "1", "--json", str(tmp_path / "startup.json")])
    wall, processor = written(tmp_path / "startup.json")["rows"]
    assert (wall["unit"], wall["mark"], processor["unit"]) == ("s", "<= 1.5", "CPU s")


def test_startup_stops_at_a_process_that_fails(capfd):
    with pytest.raises(startup.subprocess.CalledProcessError):
        startup.seconds(["-c", "raise SystemExit(3)"])


def test_simclr_loop_reports_time_and_accuracy(image_folder, tmp_path, capsys):
    root = image_folder({"train/cat": 12, "train/dog": 12, "test/cat": 3, "test/dog": 3}, size=(16, 20))
    path = tmp_path / "loop.json"
    options = f"--epochs 2 --batch_size 8 --size 16 --images 20 --workers 1 --json {path}"
    simclr_loop.main(["--root", str(root), *options.split()])
    result = written(path)
    assert result["seconds"] > 0
    assert all(0 <= result[probe][when] <= 1 for probe in ("knn", "linear_probe") for when in ("start", "end"))
    assert_named(capsys.readouterr().out, 6)


def test_probes_of_the_plain_loop_separate_what_is_separable():
    labels = torch.arange(3).repeat(800)
    features = torch.eye(8)[labels] + 0.1 * torch.randn(2400, 8)
    data = features[:2100], labels[:2100], features[2100:], labels[2100:]
    assert simclr_loop.knn(*data).all()
    assert simclr_loop.linear_probe(*data, epochs=20).all()


def test_workers_of_the_plain_loop_draw_different_views():
    images = np.broadcast_to(np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8), (8, 16, 16, 3))
    loader = torch.utils.data.DataLoader(simclr_loop.Views(images), 4, num_workers=2, worker_init_fn=simclr_loop._seed)
    first, second = (batch[0] for batch in loader)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("benchmark", [segmentation, detection])
def test_supervised_tasks_are_timed_beside_a_peer(benchmark, tmp_path, capsys):
    path = tmp_path / "rates.json"
    benchmark.main(f"--size 64 96 --batch_size 2 --steps 1 --repeats 1 --json {path}".split())
    (row,) = written(path)["rows"]
    assert row["ours"][0] > 0 and row["peer"][0] > 0 and row["holds"] == (row["ratio"] >= 1)
    assert f"{row['ratio']:.2f}" in capsys.readouterr().out


def test_what_a_fit_reaches_is_read_from_its_results():
    typed = {"--data.train": 64, "--data.val": 32, "--data.test": 32, "--trainer.max_epochs": 1, "--data.workers": 0}
    found = fitted("classification", typed, ["--data.image_size=32"])
    assert 0 <= found["test/accuracy"] <= 1 and found["seconds"] > 0


def test_the_zoo_draws_accuracy_against_cost(image_folder, tmp_path):
    root = image_folder({"train/cat": 96, "train/dog": 96, "test/cat": 4, "test/dog": 4}, size=(32, 32))
    path = tmp_path / "zoo.json"
    options = f"--networks lenet5 mobilenetv1_025 --out {tmp_path}/out --json {path} --data.batch_size 8"
    fewer = ["--data.workers=0", "--trainer.max_epochs=1", "--model.optim.warmup=2"]
    zoo.main(["--root", str(root), *options.split(), *fewer])
    rows = written(path)["rows"]
    lenet, mobilenet = sorted(rows, key=lambda row: row["network"])
    assert lenet["macs"] == 28 * 28 * 6 * 3 * 25 + 10 * 10 * 16 * 6 * 25 + 120 * 16 * 25
    assert mobilenet["parameters"] == 470_072 - 257_000  # without classifier
    assert all(0 <= row["accuracy"] <= 1 and row["seconds_per_image"] > 0 for row in rows)
    assert rows[0]["accuracy"] >= rows[1]["accuracy"]
    with (tmp_path / "out" / "zoo.csv").open() as file:
        assert [row["network"] for row in csv.DictReader(file)] == [row["network"] for row in rows]
    width, height = Image.open(tmp_path / "out" / "zoo.png").size
    assert width > height > 300


def test_the_zoo_gives_each_the_same_time_and_says_when_it_is_too_short(monkeypatch):
    asked = {}

    def starved(task: str, typed: dict, options: list[str]) -> dict[str, float]:
        asked.update(typed)
        return {"test/accuracy": 0.1, "samples_per_sec": 0.0}

    monkeypatch.setattr(zoo, "fitted", starved)
    with refuses(RuntimeError, "lenet5", "90 s", "--seconds"):
        zoo.main(["--root", "cifar"])
    assert asked["--trainer.max_time"] == "00:00:01:30"


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_networks_of_the_zoo_take_small_images(name):
    size = zoo.size_of(name, 32)
    assert 5e4 < size["parameters"] < 2e7
    assert 5e5 < size["macs"] < 1e9


def test_evaluation_compares_boxes_and_masks_with_pycocotools(tmp_path):
    path = tmp_path / "evaluation.json"
    evaluation.main(f"--images 2 --detections 5 --classes 3 --repeats 1 --json {path}".split())
    rows = written(path)["rows"]
    assert [(row["what"], row["mark"]) for row in rows] == [("boxes", ">= 2"), ("boxes and masks", ">= 2")]
    assert all(min(row["ours"] + row["peer"]) > 0 for row in rows)


@pytest.mark.parametrize("box", [(3.2, 4, 17.9, 20), (-5, -9, 20, 40), (10, 5, 60, 25), (8, 8, 8, 8), (-9, -9, -2, -2)])
def test_an_ellipse_is_what_its_equation_says(box):
    height, width = 30, 40
    x, y = (np.arange(size) + 0.5 for size in (width, height))
    (cx, cy), (rx, ry) = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), (box[2] - box[0], box[3] - box[1])
    inside = ((x[None] - cx) / max(rx / 2, 1e-6)) ** 2 + ((y[:, None] - cy) / max(ry / 2, 1e-6)) ** 2 < 1
    mask = coco_mask.decode(evaluation.ellipse(np.array(box, float), (height, width)))
    assert mask.shape == (height, width)
    assert np.array_equal(mask > 0, inside)


def test_scenes_are_as_many_as_asked_and_always_the_same():
    predictions, truths = evaluation.scenes(3, 4, 7, 2, (30, 40), crowds=0.5)
    assert [len(truth["rle"]) for truth in truths] == [4] * 3
    assert {len(entry) for entries in predictions.values() for entry in entries} == {7}
    assert all((scores.diff() <= 0).all() for scores in predictions["scores"])
    again, _ = evaluation.scenes(3, 4, 7, 2, (30, 40), crowds=0.5)
    assert all(torch.equal(a, b) for a, b in zip(predictions["boxes"], again["boxes"], strict=True))


def test_pairs_alternate():
    calls = []
    ours, peer = in_pairs(lambda: calls.append("ours"), lambda: calls.append("peer"), 3)
    assert calls == ["ours", "peer", "peer", "ours", "ours", "peer"]
    assert len(ours) == len(peer) == 3


@pytest.mark.parametrize(
    ("mark", "holds"), [(">= 2", True), (">= 2.1", False), ("<= 2", True), ("<= 1.9", False), ("", None)]
)
def test_a_mark_is_held_against_the_median_ratio(mark, holds):
    row = Comparison("it", "s", [2.0, 8.0, 3.0], [1.0, 2.0, 3.0], mark)
    assert median(row.ratios) == 2
    assert row.holds is holds


def test_json_goes_into_results_without_a_path(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    options = report.parser("First line.\nSecond.")
    report.publish("some", options.parse_args([]).json, value=1)
    assert not (tmp_path / "results").exists()
    report.publish("some", options.parse_args(["--json"]).json, value=1)
    assert written(tmp_path / "results" / "some.json")["value"] == 1


linux = pytest.mark.skipif(not memory.RESET.exists(), reason="memory is measured as Linux keeps it")


@linux
def test_memory_is_that_of_masks_that_are_found_judged_and_drawn(tmp_path):
    path = tmp_path / "memory.json"
    memory.main(f"--images 4 --objects 5 --side 128 --batch 2 --json {path}".split())
    result = written(path)
    assert (result["mark"], result["masks"], result["drawn"]) == ("<= 3", 5, 5)
    assert tuple(result["parts"]) == memory.PARTS
    assert result["peak"] == max(result["parts"].values()) > 0
    assert result["model"] > 0.1


@linux
def test_the_largest_memory_of_a_part_is_seen_after_it_is_given_back():
    meter = memory.Meter()
    meter.part("before")
    with mmap.mmap(-1, 2**28) as large:  # 0.25 GiB, given back whatever malloc is told to keep
        for _ in range(256):
            large.write(bytes(2**20))
    meter.part("within")
    meter.part("after")
    found = {name: meter.peaks[name] / 2**30 for name in ("within", "after")}
    assert 0.24 < found["within"] - found["after"] < 0.3


@linux
def test_lora_is_measured_beside_training_of_all_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(lora, "apart", lambda function, *arguments: function(*arguments))
    tiny = "--backbone test_vit --rank 2 --norms false --image_size 32 --batch_size 2 --steps 1 --repeats 1"
    lora.main([*tiny.split(), "--json", str(tmp_path / "lora.json")])
    speed, peak, state, trained = written(tmp_path / "lora.json")["rows"]
    assert min(*speed["ours"], *speed["peer"], *peak["peer"]) > 0
    widths = {"qkv": 64 + 192, "proj": 64 + 64, "fc1": 64 + 192, "fc2": 192 + 64}
    head = 64 * 10 + 10
    patches = 2 * (3 * 16 * 16 + 64)
    assert trained["ours"] == [6 * 2 * sum(widths.values()) + patches + head]
    for row, column in ((trained, "ours"), (trained, "peer")):
        assert state[column][0] * 2**20 == 2 * 4 * row[column][0]  # two moments in float32


def test_rcnn_and_fast_rcnn_judge_the_same_proposals(tmp_path):
    tiny = "--size 64 96 --proposals 4 --crop 32 --images 1 --repeats 1"
    rcnn.main([*tiny.split(), "--json", str(tmp_path / "rcnn.json")])
    rows = written(tmp_path / "rcnn.json")["rows"]
    assert [row["what"] for row in rows] == ["detect", "train"]
    assert all(row["unit"] == "s/image" and min(*row["ours"], *row["peer"]) > 0 for row in rows)


def test_detr_compares_with_a_plain_loop_and_its_attentions(tmp_path):
    detr.main(["--steps", "1", "--repeats", "1", "--sides", "64", "--json", str(tmp_path / "detr.json")])
    rows = written(tmp_path / "detr.json")["rows"]
    assert [row["mark"] for row in rows] == [">= 1.0", "", ""]
    assert all(min(*row["ours"], *row["peer"]) > 0 for row in rows)


def test_detectors_are_trained_for_equal_times(tmp_path, monkeypatch):
    asked = []

    def fitted(task: str, typed: dict, options: list[str]) -> dict[str, float]:
        asked.append((task, typed["--trainer.max_epochs"], typed["--seed_everything"]))
        figures = {"test/map": 0.5 + asked[-1][2] / 10, "test/map50": 0.8}
        return figures | {"seconds": 60.0, "samples_per_sec": 10.0}

    monkeypatch.setattr(detectors, "fitted", fitted)
    typed = ["--root", str(tmp_path), "--minutes", "2", "--seeds", "2", "--detectors", "DETR", "FCOS"]
    result = detectors.main(typed)
    assert asked == [
        ("detr", 1, 0),
        ("detr", 5, 0),
        ("detr", 5, 1),
        *[("detection", n, s) for n, s in [(1, 0), (5, 0), (5, 1)]],
    ]
    assert [row["test/map"] for row in result["rows"]] == [pytest.approx(0.55)] * 2
    assert result["rows"][0]["test/map ±"] == pytest.approx(0.6353, abs=1e-3)  # 12.706 x 0.0707 / sqrt(2)


def test_decoding_compares_with_whole_files(tmp_path, monkeypatch, capsys):
    for i, name in enumerate(("a.mp4", "b.avi")):
        film(tmp_path / "clips" / name, 20, seed=i)
    path = tmp_path / "decoding.json"
    decoding.main(["--root", str(tmp_path / "clips"), "--frames", "4", "--repeats", "1", "--json", str(path)])
    rows = written(path)["rows"]
    assert [row["mark"] for row in rows] == [">= 1.5", "", ""] * 2
    assert all(min(row["ours"] + row["peer"]) > 0 for row in rows)
    assert_named(capsys.readouterr().out, 128)
    monkeypatch.setattr(decoding, "whole", lambda clip: np.zeros(1))
    with pytest.raises(RuntimeError):
        decoding.main(["--root", str(tmp_path / "clips")])


def test_duplicates_are_searched_among_as_many_images_as_asked_for(tmp_path, capsys):
    for i in range(4):
        tiles = np.random.default_rng(i).integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(tiles).resize((64, 64)).save(tmp_path / f"{i}.jpg")
    path = tmp_path / "duplicates.json"
    duplicates.main(["--root", str(tmp_path), "--images", "50", "--repeats", "1", "--json", str(path)])
    found = written(path)
    assert found["recall"]["mirrored"] == found["recall"]["JPEG of quality 75"] == 1
    assert_named(capsys.readouterr().out, 50, duplicates.MARK_SECONDS)


def test_a_rate_leaves_the_warm_up_out():
    steps = translation.WARM_UP + 2
    assert translation.rate([1000] * translation.WARM_UP + [30, 50], [float(i**2) for i in range(steps)]) == 80 / 20


@joeynmt
def test_translation_is_timed_beside_joeynmt(tmp_path):
    random = np.random.default_rng(0)
    for split, count in (("train", 2500), ("val", 4), ("test_2016_flickr", 6)):
        numbers = [random.integers(0, 30, random.integers(3, 9)) for _ in range(count)]
        for language, word in (("en", "one{}"), ("de", "eins{}")):
            lines = (" ".join(map(word.format, line)) for line in numbers)
            (tmp_path / f"{split}.{language}").write_text("\n".join(lines) + "\n")
    path = tmp_path / "rates.json"
    options = "--steps 1 --sentences 6 --repeats 1"
    translation.main(["--root", str(tmp_path), *options.split(), "--json", str(path)])
    result = written(path)
    assert [row["mark"] for row in result["rows"]] == [">= 2.5", ">= 2.5", ">= 4", ">= 4"]
    assert all(min(row["ours"] + row["peer"]) > 0 for row in result["rows"])
    assert 0 <= result["same"] <= 1


def test_folding_compares_both_forms_of_each_backbone(tmp_path):
    options = "--backbones test_resnet repvgg_a0 --side 32 --batch 1 --batches 1 --repeats 1"
    folding.main([*options.split(), "--json", str(tmp_path / "folding.json")])
    rows = written(tmp_path / "folding.json")["rows"]
    assert [row["what"] for row in rows] == ["test_resnet", "repvgg_a0"]
    assert all(min(*row["ours"], *row["peer"]) > 0 for row in rows)


@pytest.mark.slow
def test_mixing_has_a_row_for_each_kind(tmp_path):
    options = "--backbone test_resnet --image_size 32 --batch_size 4 --steps 1 --repeats 1"
    mixing.main([*options.split(), "--json", str(tmp_path / "mixing.json")])
    rows = written(tmp_path / "mixing.json")["rows"]
    assert len(rows) == 7 and all(min(*row["ours"], *row["peer"]) > 0 for row in rows)


def test_a_patch_for_every_pixel_costs_its_pixels_times_the_whole_image(capsys):
    sliding_window.main("--size 8 --width 2 --depth 1 --repeats 1".split())
    line = line_naming(capsys.readouterr().out.splitlines(), "patch of every pixel")
    assert "25x" in line.split()  # of 5 x 5


@pytest.mark.slow
def test_policies_are_compared_in_every_size(tmp_path):
    policies.main(["--sizes", "8", "16", "--count", "2", "--repeats", "1", "--json", str(tmp_path / "policies.json")])
    rows = written(tmp_path / "policies.json")["rows"]
    assert [row["what"] for row in rows if row["mark"]] == ["RandAugment, 8 px", "RandAugment, 16 px"]


@pytest.mark.slow
def test_export_compares_each_file_with_pytorch(tmp_path):
    options = "--backbone test_resnet --side 32 --height 40 --width 50 --count 1 --repeats 1"
    export.main([*options.split(), "--json", str(tmp_path / "export.json")])
    rows = written(tmp_path / "export.json")["rows"]
    assert [row["what"] for row in rows if row["mark"]] == ["classification", "U-Net"] and len(rows) == 6


def test_coverage_counts_the_intervals_that_contain_the_truth(tmp_path, capsys):
    path = tmp_path / "coverage.json"
    coverage.main(f"--metrics accuracy miou --sets 40 --resamples 200 --images 3 --json {path}".split())
    rows = written(path)["rows"]
    assert [row["metric"] for row in rows] == ["accuracy", "miou", "accuracy, 3 seeds"]
    assert all(0.8 <= row["coverage of difference"] <= 1 for row in rows)
    assert "resamples" in capsys.readouterr().out


@pytest.mark.slow
def test_samplers_searches_with_both_on_every_seed(tmp_path):
    options = ["--config", str(TASKS / "classification.yaml"), "--trials", "2", "--seeds", "1", *TINY]
    samplers.main([*options, "--json", str(tmp_path / "samplers.json")])
    rows = written(tmp_path / "samplers.json")["rows"]
    assert [row["unit"] for row in rows] == ["", "", "s"] and all(0 <= row["ours"][0] <= 1 for row in rows[:2])


def test_near_sentences_finds_changed_copies(tmp_path, capsys):
    words = "one two three four five six seven eight nine ten".split()
    random = np.random.default_rng(0)
    for side in ("en", "de"):
        lines = (" ".join(f"{random.choice(words)}{i}" for _ in range(9)) for i in range(40))
        (tmp_path / side).write_text("\n".join(lines) + "\n")
    found = near_sentences.main(["--source", str(tmp_path / "en"), "--target", str(tmp_path / "de"), "--pairs", "60"])
    assert found["recall"]["other case"] == found["recall"]["other punctuation"] == 1 and found["alarms"] == 0
    assert_named(capsys.readouterr().out, 60, near_sentences.MARK_SECONDS)


def test_robustness_compares_both_trainings(image_folder, tmp_path, capsys):
    root = image_folder({f"{split}/{name}": 8 for split in ("train", "test") for name in "ab"}, size=(32, 32))
    small = "--data.val_split 0.25 --data.batch_size 4 --data.workers 0 --trainer.limit_train_batches 1".split()
    where = ["--json", str(tmp_path / "robustness.json")]
    robustness.main(["--root", str(root), "--epochs", "1", "--num_images", "6", "--train_steps", "1", *small, *where])
    found = written(tmp_path / "robustness.json")
    assert found["standard"].keys() >= {"accuracy", "robust_accuracy 4/255"} and 0 <= found["fooled"] <= 1
    assert "PGD-10 at 8/255" in capsys.readouterr().out


def test_label_errors_counts_the_wrong_ones_among_the_first_suspects(image_folder, tmp_path):
    root = image_folder({"cat": 16, "dog": 16}, size=(32, 32))
    options = (
        "--share 0.25 --first 5 --model.backbone test_vit --data.image_size 32 --data.workers 0 --data.batch_size 8"
    )
    options += f" --trainer.max_epochs 1 --figures.samples 1 --json {tmp_path / 'errors.json'}"
    label_errors.main(["--root", str(root), *options.split()])
    result = written(tmp_path / "errors.json")
    assert result["labels"] == 16
    assert 0 <= result["precision"] <= 1
    assert 0 <= result["random"] <= 0.5


def test_explanations_are_timed_beside_captum(tmp_path):
    pytest.importorskip("captum", reason="captum is a peer of development")
    where = ["--json", str(tmp_path / "explanations.json")]
    explanations.main("speed --backbone test_resnet --side 64 --count 2 --repeats 1".split() + where)
    rows = written(tmp_path / "explanations.json")["rows"]
    assert [row["mark"] for row in rows] == [">= 3", "", "<= 1.5"]
    assert all(value > 0 for row in rows for value in (*row["ours"], *row["peer"]))


@pytest.mark.slow
def test_explanations_are_held_against_known_objects(capsys):
    result = explanations.main(["truth", "--count", "20", *TINY])["results"]
    assert result["occlusion_randomized"]["mark"] == "<= 0.3" and result["center_pointing"]["mark"] == ""
    pointing = result["gradcam_pointing"]
    assert pointing["met"] == (pointing["value"] >= 0.8) and 0 <= pointing["value"] <= 1
    assert "gradcam_deletion_below_random" in capsys.readouterr().out


@pytest.mark.slow
def test_style_compares_a_pass_with_an_optimization_and_norms(image_folder, tmp_path):
    options = (
        "--photographs 1 --steps 2 --seeds 1 --model.width 4 --model.blocks 1 --data.image_size 32 --data.batch_size 4"
    )
    options += f" --trainer.max_epochs 1 --figures.samples 1 --json {tmp_path / 'style.json'}"
    style.main(["--root", str(image_folder({"photos": 16}, size=(32, 32))), *options.split()])
    rows = written(tmp_path / "style.json")["rows"]
    assert [row["mark"] for row in rows] == ["<= 1.5", "<= 1.5", "<= 0.01", "<= 1"]
    assert all(value > 0 for row in rows for value in (*row["ours"], *row["peer"]))


@pytest.mark.slow
def test_serving_answers_every_request_of_a_load(image_folder, tmp_path):
    options = ["--seconds", "3", "--connections", "4", "--image_size", "32", "--model.backbone", "test_resnet"]
    result = serving.main(
        ["--root", str(image_folder({"photos": 5})), *options, "--json", str(tmp_path / "serving.json")]
    )
    assert result["failed"] == {} and 0 < result["p50_ms"] <= result["p99_ms"]
    assert [row["unit"] for row in written(tmp_path / "serving.json")["rows"]] == ["images/s", "images/CPU s", "MiB"]


def test_steps_of_a_technique_take_as_long_as_those_of_the_reference():
    assert techniques.equal_time(300, 1.5) == 200
    assert techniques.equal_time(300, 1.5, "removes") == 450  # each step of the run without it is that much shorter
    assert techniques.equal_time(3, 100.0) == 1


def test_the_cost_of_a_step_is_the_median_of_pairs(tmp_path, monkeypatch):
    seconds = {"": iter([1.0, 2.0, 4.0]), "--x": iter([3.0, 3.0, 16.0])}  # ratios 3, 1.5 and 4
    monkeypatch.setattr(techniques.Bench, "_seconds", lambda bench, words, steps: next(seconds[" ".join(words)]))
    bench = techniques.Bench(tmp_path, 10, [0], [])
    assert bench.cost(Technique("a", "", "--x"), 5, 3) == 3
    assert techniques.Bench(tmp_path, 10, [0], []).cost(Technique("a", "", "--x"), 5, 3) == 3  # not measured again
    assert bench.cost(Technique("b", "", "--y", same_step=True), 5, 3) == 1


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.01, 0.03, UNCLEAR), (0.0, 0.03, UNCLEAR), (0.001, 0.03, "better"), (-0.03, -0.001, "worse")],
)
def test_a_technique_is_distinguishable_where_its_interval_lacks_zero(low, high, verdict):
    value = (low + high) / 2
    row = Row(Technique("a", "group", "--x 1"), 1.25, 0.4, Estimate(value, low, high, 0.01, 100))
    assert row.verdict == verdict
    assert (UNCLEAR in markdown([row])) == (verdict == UNCLEAR)


@pytest.mark.slow
def test_the_options_of_all_techniques_are_settings(image_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(techniques.Quiet, "instantiate_classes", CLI.build_parts)
    monkeypatch.setattr(techniques.Quiet, "_run_subcommand", lambda cli, name: None)
    root = image_folder({"train/cat": 6, "train/dog": 6, "test/cat": 2, "test/dog": 2}, size=(32, 32))
    small = [*techniques.BASE, f"--data.root={root}", "--data.num_labels=8"]
    for one in TECHNIQUES:
        if one.kind != "tests":
            techniques.fit([*small, *one.words], tmp_path / "run")


def test_techniques_are_trained_tested_and_not_trained_again(image_folder, tmp_path, monkeypatch, capsys):
    counts = {f"{split}/{name}": count for split, count in (("train", 12), ("test", 6)) for name in ("cat", "dog")}
    small = "--data.num_labels 18 --data.batch_size 2".split()
    argv = ["--root", str(image_folder(counts, size=(32, 32))), "--out", str(tmp_path / "out"), *small]
    argv += [*"--steps 2 --seeds 0 --cost_steps 1 --repeats 1 --only dropout warmup".split(), "mirror image"]
    result = techniques.main(argv)
    assert {row["name"] for row in result["rows"]} == {"dropout", "warmup", "mirror image"}
    assert all(0 <= row["accuracy"] <= 1 for row in result["rows"])
    assert_named(capsys.readouterr().out, "dropout", "--model.tta.flip true")
    assert Image.open(tmp_path / "out" / "techniques.png").size[0] > 500
    monkeypatch.setattr(techniques, "Quiet", None)
    assert techniques.main(argv)["rows"] == result["rows"]
