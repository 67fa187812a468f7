"""Captioning from the command line: own images, cached maps, self-critical training, and refusals."""

from pathlib import Path

import pytest
import yaml

from tests.helpers.commands import results, values
from tests.helpers.errors import assert_named, line_naming
from tests.helpers.files import rows

FIT = ["fit", "--config", "tasks/captioning.yaml", "--model.search.max_length", "8", "--model.search.num_beams", "2"]
FIT += "--data.workers 0 --data.image_size 32 --trainer.logger false --trainer.precision 32".split()
SMALL = "--data.train 64 --data.val 16 --data.test 12 --data.batch_size 16 --trainer.max_epochs 2".split()
SMALL += ["--figures.samples", "4"]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cache")  # outside of the folder that a refused command leaves as it was
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def run(fit_once) -> str:
    """The run directory of a tiny captioning, trained once."""
    return str(fit_once(*FIT[1:], *SMALL))


def test_a_fit_says_what_it_did_and_leaves_everything(run):
    report = results(run)
    scores = {f"test/{name}" for name in ("bleu_1", "bleu_4", "cider", "rouge_l", "exact_match", "perplexity")}
    assert scores | {"val/cider", "test/unfinished"} <= report.keys()
    assert_named(report["test/cider"]["protocol"], "12", "CIDEr-D")
    names = {path.name for path in (Path(run) / "figures").iterdir()}
    assert {"train_batch.png", "test_predictions.png", "test_attention.png", "test_mistakes.png"} <= names
    assert (Path(run) / "backbone.safetensors").is_file()
    assert "tokenizers: null" in (Path(run) / "config.yaml").read_text()
    found = rows(Path(run) / "predictions" / "test.csv")
    assert [row["id"] for row in found] == [f"test/{i:06d}" for i in range(12)]
    assert all(row["references"].count("\n") in (3, 7) for row in found)


def test_the_same_checkpoint_gives_the_same_metrics_on_its_test_set(run, graft):
    assert graft("test", "--config", f"{run}/config.yaml", "--ckpt_path", run, "--run_dir", "again")[0] == 0
    first, second = values(run), values("again")
    assert second and all(first[name] == value for name, value in second.items())


def test_a_checkpoint_alone_describes_images_of_ones_own(run, graft, image_folder):
    folder = image_folder({"mine": 3})
    typed = ["--data", "UnlabeledImages", "--data.root", str(folder), "--data.workers", "0"]
    typed += ["--model.search.num_return_sequences", "2"]
    assert graft("predict", "--ckpt_path", run, *typed, "--run_dir", "said")[0] == 0
    found = rows(Path("said/predictions/predict.csv"))
    assert [row["id"] for row in found] == ["mine/000.png", "mine/001.png", "mine/002.png"]
    assert all(row["text"] and row["alternatives"].split("\n")[0] == row["text"] for row in found)
    assert Path("said/predictions/predict.txt").read_text() == "".join(f"{row['text']}\n" for row in found)


def test_features_of_a_captioning_backbone_are_judged(run, graft):
    assert graft("evaluate", "--ckpt_path", run, "--run_dir", "judged", "--num_images", "10")[0] == 0
    assert {"test/effective_rank", "test/alignment"} <= values("judged").keys()


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


def test_maps_are_stored_once_and_training_from_them_ends_alike(graft, caplog, cache):
    caplog.set_level("INFO")
    found, said, kept = {}, {}, {}
    for name, stored in (("plain", "false"), ("first", "true"), ("second", "true")):
        caplog.clear()
        typed = [*SMALL, "--model.frozen", "true", "--model.cache_features", stored, "--run_dir", name]
        typed += ["--model.search.max_length", "2"]
        assert graft(*FIT, *typed, "--trainer.max_epochs", "1")[0] == 0
        found[name], said[name] = values(name), caplog.text
        kept[name] = {path: path.stat().st_mtime_ns for path in (cache / "graft" / "maps").glob("*")}
        assert Path(name, "figures", "train_batch.png").is_file()
    assert len(kept["plain"]) == 0 and "maps" not in said["plain"]
    assert len(kept["first"]) == 1 and kept["second"] == kept["first"]  # written once, read again
    for name in ("first", "second"):
        assert_named(said[name], "maps", "64", *kept["first"])
    assert found["first"] == found["second"]
    for metric in ("val/perplexity", "test/perplexity"):
        assert found["first"][metric] == pytest.approx(found["plain"][metric], rel=1e-2)


def test_self_critical_training_goes_on_from_a_run_and_its_checkpoint_stands_alone(run, graft):
    typed = ["--model.self_critical", run, "--model.optim.lr", "0.0001", "--trainer.max_epochs", "1"]
    typed += ["--trainer.log_every_n_steps", "1"]
    assert graft(*FIT, *SMALL, *typed, "--run_dir", "critical")[0] == 0
    assert {"train/reward", "train/greedy_reward"} <= set(rows(Path("critical/metrics.csv"))[0])
    checkpoint = str(Path("critical").resolve())
    assert graft("test", "--ckpt_path", checkpoint, "--trainer.precision", "32", "--run_dir", "again")[0] == 0
    assert values("again")["test/cider"] == values("critical")["test/cider"]


PLAIN = "--model.decoder RecurrentDecoder --model.decoder.attention none --model.doubly_stochastic_weight 1"
FLIPPED = "--model.cache_features true --model.frozen true --data.augment flip"


@pytest.mark.parametrize(
    ("typed", "code", "names"),
    [
        ("--data Shapes", 2, ["Captioning", "Shapes", "--data"]),
        ("--data ShapesSentences", 2, ["Captioning", "image", "target", "ShapesSentences", "--data"]),
        ("--model.feature_level 7", 2, ["model.feature_level", "7", "test_resnet", "0", "4", "-1"]),
        (PLAIN, 2, ["model.doubly_stochastic_weight", "RecurrentDecoder", "model.decoder"]),
        ("--model.cache_features true", 2, ["model.cache_features", "model.frozen true"]),
        (FLIPPED, 2, ["model.cache_features", "--data.augment none", "--data.crop null"]),
        ("--model.self_critical nowhere", 1, ["nowhere"]),
        ("--model.optim.backbone 0", 2, ["optim.backbone", "0", "model.frozen true"]),
        ("--model.label_smoothing 1", 2, ["model.label_smoothing", "1"]),
        ("--model.search.num_return_sequences 9", 2, ["search.num_beams", "2", "num_return_sequences", "9"]),
    ],
)
def test_what_cannot_be_trained_is_named_with_what_to_set(refused, typed, code, names):
    given = FIT[:7] if "ShapesSentences" in typed else FIT if "--data Shapes" in typed else [*FIT, *SMALL]
    refused(code, [*given, *typed.split()], *names)


def test_a_checkpoint_of_other_words_or_of_another_task_is_refused(run, refused, image_folder):
    folder = image_folder({"Images": 6})
    rows = [f"Images/{i:03d}.png,zwei kleine Hunde {i},test" for i in range(6)]
    (folder / "captions.csv").write_text("\n".join(["image,caption,split", *rows]))
    typed = ["--data", "CaptionTable", "--data.root", str(folder / "captions.csv"), "--data.workers", "0"]
    refused(1, ["test", "--ckpt_path", run, *typed], "24", "test captions", "--data.strict false")
    refused(2, ["test", "--ckpt_path", run, "--data", "ShapesSentences"], "1", "2", "--data", "--ckpt_path")


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        (["Images/000.png,a dog", "Images/009.png,a cat"], ["Images/009.png", "1", "2", "--data.on_error skip"]),
        (["Images/000.png,", "Images/001.png,"], ["Images/000.png"]),
    ],
)
def test_captions_that_cannot_be_used_are_named(refused, image_folder, rows, names):
    folder = image_folder({"Images": 2})
    (folder / "captions.csv").write_text("\n".join(["image,caption", *rows]))
    refused(1, [*FIT, "--data", "CaptionTable", "--data.root", str(folder / "captions.csv")], folder, *names)


def test_empty_captions_and_images_without_any_are_counted_and_listed(graft, image_folder, capsys):
    folder = image_folder({"Images": 8})
    rows = [f"Images/{i:03d}.png,a dog number {i}" for i in range(7)] + ["Images/000.png,", "Images/007.png,"]
    (folder / "captions.csv").write_text("\n".join(["image,caption", *rows]))
    typed = ["--data", "CaptionTable", "--data.root", str(folder / "captions.csv"), "--data.batch_size", "2"]
    assert graft(*FIT, *typed, "--data.val_split", "0.3", "--trainer.max_epochs", "1", "--run_dir", "run")[0] == 0
    head = capsys.readouterr().out.partition("epoch 1 of 1")[0].splitlines()
    line_naming(head, "2", "dropped.txt")
    line_naming(head, "1", "skipped.txt")
    (skipped,) = Path("run/skipped.txt").read_text().splitlines()
    assert_named(skipped, "Images/007.png")
