"""Translation from the command line: a checkpoint alone translates raw text, line by line; refusals."""

import csv
import io
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.commands import results, values
from tests.helpers.errors import assert_named

FIT = "fit --config tasks/translation.yaml --model.encoder.width 32 --model.decoder.width 32 --data.workers 0".split()
SMALL = "--data.train 300 --data.val 40 --data.test 30 --trainer.max_epochs 2 --trainer.logger false".split()
SMALL += ["--figures.samples", "4", "--model.search.max_length", "20"]


@pytest.fixture(scope="module")
def run(fit_once) -> str:
    """The run directory of a tiny translation, trained once."""
    return str(fit_once(*FIT[1:], *SMALL))


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")


def test_a_fit_says_what_it_did_and_leaves_everything(run):
    run = Path(run)
    report = results(run)
    assert {"test/bleu", "test/chrf", "test/ter", "test/bleu_tokenized", "test/perplexity", "val/bleu"} <= report.keys()
    assert_named(report["test/bleu"]["protocol"], "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:", "30")
    names = {path.name for path in (run / "figures").iterdir()}
    assert {"train_batch.png", "test_predictions.png", "test_best.png", "test_attention.png"} <= names
    assert not (run / "backbone.safetensors").exists()
    assert "tokenizers: null" in (run / "config.yaml").read_text()
    with (run / "predictions" / "test.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [f"test.en:{i + 1}" for i in range(30)]  # judged by length, written in order
    assert [row["source"] for row in rows] == lines(run / "predictions" / "test.source.txt")[:-1]


def test_a_checkpoint_alone_translates_a_file_line_by_line(run, graft, tmp_path):
    (tmp_path / "in.txt").write_text("A red circle.\n\n  Two blue\u00a0stars .\n@@\nA zebra sees quickly.\n")
    typed = ["--data", "TextFile", "--data.root", "in.txt", "--data.batch_size", "2", "--data.workers", "0"]
    assert graft("predict", "--ckpt_path", run, *typed, "--run_dir", "said")[0] == 0
    said = lines(Path("said/predictions/predict.txt"))
    assert len(said) == 6 and said[1] == said[5] == "" and said[0] and said[2]
    assert lines(Path("said/predictions/predict.source.txt"))[2] == "Two blue stars ."


def test_an_exported_file_translates_the_same(run, graft, tmp_path):
    assert graft("export", "--ckpt_path", run, "--data.test", "64", "--out", "model.onnx") == (0, "")
    assert Path("model.decoder.onnx").is_file()
    (tmp_path / "in.txt").write_text("A red circle.\n\n  Two blue\u00a0stars, z\u00e9bra .\n@@\n")
    typed = ["--data", "TextFile", "--data.root", "in.txt", "--data.workers", "0", "--trainer.precision", "32"]
    for name, weights in {"torch": ["--ckpt_path", run], "onnx": ["--onnx", "model.onnx"]}.items():
        assert graft("predict", *weights, *typed, "--run_dir", name) == (0, "")
    ours, theirs = (Path(name, "predictions/predict.csv").read_text() for name in ("torch", "onnx"))
    assert ours == theirs
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 40)).save("photos/a.png")
    for more in ([], ["--trainer.precision", "32"]):
        typed = ["--data", "UnlabeledImages", "--data.root", "photos", *more]
        code, said = graft("predict", "--onnx", "model.onnx", *typed, "--run_dir", "odd")
        assert code == 1 and "takes text" in said and "UnlabeledImages" in said


def test_standard_input_is_translated_and_the_best_few_are_listed(run, graft, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(b"A red circle.\nTwo stars.\n"), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", stdin)
    typed = ["--data", "TextFile", "--data.root", "-", "--data.workers", "0"]
    typed += ["--model.search.num_return_sequences", "3"]
    assert graft("predict", "--ckpt_path", run, *typed, "--run_dir", "said")[0] == 0
    with Path("said/predictions/predict.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == ["A red circle.", "Two stars."]
    assert all(row["alternatives"].split("\n")[0] == row["text"] for row in rows)
    assert all(len(set(row["alternatives"].split("\n"))) == 3 for row in rows)


def test_what_never_ends_is_cut_and_said(run, graft):
    assert graft("test", "--ckpt_path", run, "--model.search.max_length", "3", "--run_dir", "cut")[0] == 0
    unfinished = results("cut")["test/unfinished"]
    assert unfinished["value"] == 1 and "search.max_length" in unfinished["protocol"]


def test_the_same_checkpoint_gives_the_same_metrics_on_its_test_set(run, graft):
    assert graft("test", "--config", f"{run}/config.yaml", "--ckpt_path", run, "--run_dir", "again")[0] == 0
    first, second = values(run), values("again")
    assert second and all(first[name] == value for name, value in second.items())


def test_text_of_another_kind_than_the_checkpoints_is_refused(run, refused, tmp_path):
    for name in ("source", "target"):
        (tmp_path / name).write_text("".join(f"слово {name} {i} и ещё одно\n" for i in range(20)))
    typed = ["--data", "ParallelText", "--data.source", "source", "--data.target", "target"]
    typed += ["--data.test_source", "source", "--data.test_target", "target"]
    refused(1, ["test", "--ckpt_path", run, *typed], "108", "source", "--data.strict false")


def test_a_resumed_run_keeps_the_vocabulary_of_its_checkpoint(run, graft):
    typed = [*FIT, *SMALL, "--data.train", "150", "--trainer.max_epochs", "3", "--ckpt_path", run]
    code, error = graft(*typed, "--run_dir", "more")  # another training set has other words
    assert code == 0, error


@pytest.mark.parametrize(
    ("typed", "code", "names"),
    [
        ("--data Shapes", 2, ["Translation", "Shapes", "--data"]),
        ("--data TextFile --data.root tasks/translation.yaml", 1, ["TextFile"]),
        ("--model.search.num_beams 0", 2, ["search.num_beams", "0"]),
        ("--model.search.num_return_sequences 7", 2, ["search.num_beams", "5", "num_return_sequences", "7"]),
        ("--model.search.top_k 7", 2, ["search.top_k", "search.temperature"]),
        ("--model.search.min_length 200", 2, ["min_length", "200", "max_length", "20"]),
        ("--model.label_smoothing 1", 2, ["model.label_smoothing", "1"]),
        ("--model.optim.scale_lr true", 2, ["optim.scale_lr", "optim.lr"]),
        ("--model.weights runs/simclr/latest", 2, ["weights"]),
        ("--model.encoder.heads 5", 2, ["heads", "5", "32"]),
        ("--model.decoder RecurentDecoder", 2, ["decoder", "RecurentDecoder", "RecurrentDecoder"]),
        ("--model.average_last_epochs 3", 2, ["model.average_last_epochs", "3", "trainer.max_epochs", "2"]),
        ("--data.shared_vocab true --model.decoder.width 64", 2, ["width", "32", "64"]),
    ],
)
def test_a_wrong_setting_is_named_with_what_to_set(refused, typed, code, names):
    refused(code, [*FIT, *SMALL, *typed.split()], *names)


def test_commands_about_features_are_refused_where_there_are_none(run, refused):
    refused(2, ["evaluate", "--ckpt_path", run], "Translation", "backbone")
    refused(2, ["compare", *FIT[1:], *SMALL, "--weights", "none", "--seeds", "2"], "Translation", "backbone")


def test_a_recurrent_network_with_attention_is_two_options_away(graft):
    typed = ["--model.encoder", "RecurrentEncoder", "--model.decoder", "RecurrentDecoder"]
    typed += ["--model.average_last_epochs", "2"]
    assert graft(FIT[0], *FIT[1:3], "--data.workers", "0", *SMALL, *typed, "--run_dir", "rnn")[0] == 0
    assert "RecurrentDecoder" in Path("rnn/config.yaml").read_text()
