"""Captions from the command line: images of one's own, stored maps, self-critical training; one sentence for what is
wrong."""

import csv
import json
from pathlib import Path

import pytest
import yaml

FIT = ["fit", "--config", "tasks/captioning.yaml", "--model.search.max_length", "15", "--model.search.num_beams", "2"]
FIT += "--data.workers 0 --data.image_size 32 --trainer.logger false --trainer.precision 32".split()
SMALL = "--data.train 64 --data.val 16 --data.test 12 --data.batch_size 16 --trainer.max_epochs 2".split()
SMALL += ["--figures.samples", "4"]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def run(fit_once) -> str:
    """The run directory of a tiny captioning, trained once."""
    return str(fit_once(*FIT[1:], *SMALL))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def figures(folder: str) -> dict[str, float]:
    report = json.loads((Path(folder) / "results.json").read_text())
    return {row["metric"]: row["value"] for row in report["results"]}


def test_a_fit_says_what_it_did_and_leaves_everything(run):
    report = {row["metric"]: row for row in json.loads((Path(run) / "results.json").read_text())["results"]}
    scores = {f"test/{name}" for name in ("bleu_1", "bleu_4", "cider", "rouge_l", "exact_match", "perplexity")}
    assert scores | {"val/cider", "test/unfinished"} <= report.keys()
    assert "12 test images; CIDEr-D, mean over images" in report["test/cider"]["how"]
    names = {path.name for path in (Path(run) / "figures").iterdir()}
    assert {"train_batch.png", "test_predictions.png", "test_attention.png", "test_mistakes.png"} <= names
    assert (Path(run) / "backbone.safetensors").is_file()
    assert "tokenizers: null" in (Path(run) / "config.yaml").read_text()
    rows = table(Path(run) / "predictions" / "test.csv")
    assert [row["id"] for row in rows] == [f"test/{i:06d}" for i in range(12)]
    assert all(row["references"].count("\n") in (3, 7) for row in rows)


def test_the_same_checkpoint_gives_the_same_figures_on_its_test_set(run, graft):
    assert graft("test", "--config", f"{run}/config.yaml", "--ckpt_path", run, "--run_dir", "again")[0] == 0
    first, second = figures(run), figures("again")
    assert second and all(first[name] == value for name, value in second.items())


def test_a_checkpoint_alone_describes_images_of_ones_own(run, graft, image_folder):
    folder = image_folder({"mine": 3})
    typed = ["--data", "Images", "--data.root", str(folder), "--data.workers", "0"]
    typed += ["--model.search.num_return_sequences", "2"]
    assert graft("predict", "--ckpt_path", run, *typed, "--run_dir", "said")[0] == 0
    rows = table(Path("said/predictions/predict.csv"))
    assert [row["id"] for row in rows] == ["mine/000.png", "mine/001.png", "mine/002.png"]
    assert all(row["text"] and row["alternatives"].split("\n")[0] == row["text"] for row in rows)
    assert Path("said/predictions/predict.txt").read_text() == "".join(f"{row['text']}\n" for row in rows)


def test_features_of_a_captioning_backbone_are_judged(run, graft):
    assert graft("evaluate", "--ckpt_path", run, "--run_dir", "judged", "--sample", "10")[0] == 0
    assert {"test/effective_rank", "test/alignment"} <= figures("judged").keys()


def test_every_setting_is_written_and_can_be_read_again(graft, capsys):
    with pytest.raises(SystemExit):
        graft(*FIT, "--model.decoder", "TransformerDecoder", "--model.frozen", "true", "--print_config")
    model = yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]
    assert model["decoder"]["class_path"].endswith("TransformerDecoder")
    assert model["frozen"] and model["search"]["num_beams"] == 2 and model["weights"] is None
    with pytest.raises(SystemExit):
        graft("fit", "--model.help", "Captioning")
    said = capsys.readouterr().out
    for name in "feature_level doubly_stochastic_weight tokenizers backbone search.num_beams optim.backbone".split():
        assert f"--model.{name}" in said


def test_the_baseline_has_no_attention_to_draw(graft):
    typed = ["--model.decoder", "RecurrentDecoder", "--model.decoder.attention", "none", "--run_dir", "baseline"]
    assert graft(*FIT, *SMALL, *typed, "--trainer.max_epochs", "1")[0] == 0
    assert Path("baseline/figures/test_predictions.png").is_file()
    assert not Path("baseline/figures/test_attention.png").exists()


def test_maps_are_stored_once_and_training_from_them_ends_alike(graft, caplog):
    caplog.set_level("INFO")
    found, said = {}, {}
    for name, stored in (("plain", "false"), ("first", "true"), ("second", "true")):
        caplog.clear()
        typed = [*SMALL, "--model.frozen", "true", "--model.cache_features", stored, "--run_dir", name]
        assert graft(*FIT, *typed, "--trainer.max_epochs", "1")[0] == 0
        found[name], said[name] = figures(name), caplog.text
        assert Path(name, "images", "train_batch.png").is_file()
    assert "maps of" not in said["plain"]
    assert "maps of 64 training images" in said["first"] and "computed in" in said["first"]
    assert "computed by an earlier run" in said["second"]
    assert found["first"] == found["second"]
    for metric in ("val/perplexity", "test/perplexity"):
        assert found["first"][metric] == pytest.approx(found["plain"][metric], rel=1e-2)
    assert len(list(Path("cache/graft/maps").iterdir())) == 1


def test_self_critical_training_goes_on_from_a_run_and_its_checkpoint_stands_alone(run, graft):
    typed = ["--model.self_critical", run, "--model.optim.lr", "0.0001", "--trainer.max_epochs", "1"]
    typed += ["--trainer.log_every_n_steps", "1"]
    assert graft(*FIT, *SMALL, *typed, "--run_dir", "critical")[0] == 0
    assert {"train/reward", "train/greedy_reward"} <= set(table(Path("critical/metrics.csv"))[0])
    checkpoint = str(Path("critical").resolve())
    assert graft("test", "--ckpt_path", checkpoint, "--trainer.precision", "32", "--run_dir", "again")[0] == 0
    assert figures("again")["test/cider"] == figures("critical")["test/cider"]


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        (["--data", "Shapes"], 2, "Captioning learns to write, but Shapes has no texts: choose other --data"),
        (["--data", "ShapesSentences"], 2, "Captioning needs image, target, but ShapesSentences gives source"),
        (["--model.feature_level", "7"], 2, "feature_level is 7, but test_resnet has 5 maps: 0 to 4, or -1"),
        (
            [
                *"--model.decoder RecurrentDecoder --model.decoder.attention none".split(),
                "--model.doubly_stochastic_weight=1",
            ],
            2,
            "this RecurrentDecoder has no attention to regularize",
        ),
        (["--model.cache_features", "true"], 2, "changes while it is trained: set model.frozen true"),
        (
            "--model.cache_features true --model.frozen true --data.augment flip".split(),
            2,
            "these are augmented: set --data.augment none and --data.crop null",
        ),
        (["--model.self_critical", "nowhere"], 1, "no checkpoint at nowhere"),
        (["--model.optim.backbone", "0"], 2, "optim.backbone is 0, but it is a factor above 0"),
        (["--model.label_smoothing", "1"], 2, "label_smoothing is 1"),
        (["--model.search.num_return_sequences", "9"], 2, "search.num_beams 2"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_sentence(graft, typed, code, words):
    small = [] if "ShapesSentences" in typed or "Shapes" in typed else SMALL
    given = FIT[:7] if typed[1] == "ShapesSentences" else FIT
    found, error = graft(*given, *small, *typed)
    assert found == code and words in error, error


def test_a_checkpoint_of_other_words_or_of_another_task_is_refused(run, graft, image_folder):
    folder = image_folder({"Images": 6})
    rows = [f"Images/{i:03d}.png,zwei kleine Hunde {i},test" for i in range(6)]
    (folder / "captions.csv").write_text("\n".join(["image,caption,split", *rows]))
    typed = ["--data", "CaptionTable", "--data.root", str(folder / "captions.csv"), "--data.workers", "0"]
    code, error = graft("test", "--ckpt_path", run, *typed)
    assert code == 1 and "the checkpoint's vocabulary lacks" in error and "test captions" in error, error
    code, error = graft("test", "--ckpt_path", run, "--data", "ShapesSentences")
    assert code == 2 and "has 1 vocabularies, but the data is sentence pairs, which need 2" in error, error


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["Images/000.png,a dog", "Images/009.png,a cat"], "009.png is not there"),
        (["Images/000.png,", "Images/001.png,"], "not one image in"),
    ],
)
def test_captions_that_cannot_be_used_are_named(graft, image_folder, rows, words):
    folder = image_folder({"Images": 2})
    (folder / "captions.csv").write_text("\n".join(["image,caption", *rows]))
    code, error = graft(*FIT, "--data", "CaptionTable", "--data.root", str(folder / "captions.csv"))
    assert code == 1 and words in error, error


def test_empty_captions_and_images_without_any_are_counted_and_listed(graft, image_folder, capsys):
    folder = image_folder({"Images": 8})
    rows = [f"Images/{i:03d}.png,a dog number {i}" for i in range(7)] + ["Images/000.png,", "Images/007.png,"]
    (folder / "captions.csv").write_text("\n".join(["image,caption", *rows]))
    typed = ["--data", "CaptionTable", "--data.root", str(folder / "captions.csv"), "--data.batch_size", "2"]
    assert graft(*FIT, *typed, "--data.val_split", "0.3", "--trainer.max_epochs", "1", "--run_dir", "run")[0] == 0
    said = capsys.readouterr().out
    assert "dropped: 2 captions that are empty, listed in dropped.txt" in said
    assert "skipped: 1 images that cannot be used" in said
    assert Path("run/skipped.txt").read_text() == "Images/007.png has no caption\n"
