"""Final report: table of classes, protocols, numbers."""

import shlex
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from callbacks.results.metrics import Results, interval_of
from callbacks.results.number_format import bounds, number, or_nan, or_null, short
from callbacks.results.table import class_table, results_table
from callbacks.terminal import fill
from callbacks.writers.detection_errors import error_lines
from callbacks.writers.per_class import per_class, per_class_of_pixels
from modules.metrics.bootstrap import Estimate
from modules.metrics.detection import Report
from tests.helpers.errors import assert_named

MATRIX = np.array([[1_000_000, 200_000, 0], [0, 50_000, 50_000], [0, 0, 0]])


@pytest.mark.parametrize(
    ("table", "judge", "first"),
    [
        (per_class, "F1", ("bird", "0", "0.000", "n/a", "0.000")),
        (per_class_of_pixels, "IoU", ("bird", "0", "0.000", "n/a", "0.000", "0.000")),
    ],
)
def test_the_classes_that_do_worst_are_told_by_the_metric_that_judges_them(capsys, table, judge, first):
    Console().print(class_table("test", table(MATRIX), ["cat", "dog", "bird"]))
    said = capsys.readouterr().out.splitlines()
    assert_named(" ".join(said[:2]), judge, "predictions/test_per_class.csv")
    cells = [tuple(cell.strip() for cell in line.split("│")[1:-1]) for line in said if line.startswith("│")]
    assert [row[0] for row in cells] == ["bird", "dog", "cat"]
    assert cells[0] == first
    assert cells[2][1] == "1,200,000"


def test_of_many_classes_the_table_shows_some(capsys):
    Console().print(class_table("val", per_class(MATRIX), ["cat", "dog", "bird"], most=2))
    said = capsys.readouterr().out
    assert_named(said, "val_per_class.csv", "2 of 3", "bird", "dog")
    assert "cat" not in said


def test_the_kinds_of_errors_are_a_line_each_for_boxes_and_masks():
    boxes = Report(
        {}, {}, {"class": (30, 0.3), "missed": (69, 0.69), "background": (1, 0.01), "both": (0, 0.0)}, 0.41, True
    )
    masks = Report({}, {}, {"class": (0, np.nan), "missed": (0, np.nan)})
    first, second = error_lines("val", {"boxes": boxes, "masks": masks})
    assert_named(
        first, "boxes", 0.41, "best F1", 100, "missed 69 %, class 30 %, background 1.0 %", "predictions/val_errors.csv"
    )
    assert_named(second, "masks", 0.5, 0, "predictions/val_errors.csv")
    assert "F1" not in second  # nothing right is found
    assert "both" not in first and "missed" not in second  # kinds that do not occur


def test_a_title_wider_than_its_table_is_one_line(capsys):
    Console(width=80).print(class_table("test", per_class(MATRIX), ["cat", "dog", "bird"]))
    assert_named(capsys.readouterr().out.splitlines()[0], "F1", "predictions/test_per_class.csv")


def test_callbacks_of_any_package_have_their_say_in_the_protocols():
    class Own:
        def protocol_lines(self, trainer):
            return {"test/own": "by hand", "test": "3 of 9 test images"}

    data = SimpleNamespace(dataset=lambda split, purpose: range(9), noun="images")
    task = SimpleNamespace(protocols={"loss": "mean"}, required_keys=("image",))
    metrics = {"test/own": torch.tensor(0.35), "test/loss": torch.tensor(1.0), "val/loss": torch.tensor(2.0)}
    trainer = SimpleNamespace(callbacks=[Own(), object()], callback_metrics=metrics, datamodule=data)
    trainer.lightning_module = task
    results = Results("test")
    for split in ("test", "val"):
        results.collect(trainer, split)
    rows, _ = results.rows(trainer)
    assert {row["metric"]: row["protocol"] for row in rows} == {
        "test/own": "by hand",
        "test/loss": "3 of 9 test images; mean",
        "val/loss": "9 val images; mean",
    }
    assert rows[1]["value"] == 0.35  # as logged, without the noise of 64 bits


def test_a_test_metric_carries_its_interval_or_the_reason_why_it_has_none():
    estimate = Estimate(0.742, 0.70117, 0.78, 0.02, 500)
    known = {"test/accuracy": estimate, "test/f1": None, "test/loss": estimate}
    assert interval_of("test/accuracy", 0.742, known) == {"interval": [0.70117, 0.78], "items": 500}
    others = {"test/f1": 0.7, "test/loss": 1.2, "test/fid": 30.0, "val/accuracy": 0.742}
    rows = {name: interval_of(name, value, known) for name, value in others.items()}
    assert {row["interval"] for row in rows.values()} == {None}
    assert len({row["no interval"] for row in rows.values()}) == 4


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.701, 0.7823, "[.701, .782]"),
        (43.72, 46.81, "[43.7, 46.8]"),
        (0.99801, 0.99932, "[.9980, .9993]"),
        (-0.02, 0.31, "[-.02, .31]"),
        (1210.2, 1502.7, "[1210, 1503]"),
        (0.93, 1, "[.930, 1.000]"),
    ],
)
def test_an_interval_has_two_digits_of_its_width(low, high, text):
    assert bounds(low, high) == text


def test_intervals_stand_in_a_table_of_80_columns(capsys):
    of = {"value": 0.742, "protocol": "500 test images; top-1, micro: mean over images"}
    rows = [{"metric": f"test/{name}", "interval": [0.701, 0.782], "items": 500, **of} for name in ("accuracy", "f1")]
    rows += [{"metric": "val/accuracy", "interval": None, **of}]
    Console(width=80).print(results_table(rows, "Results"))
    said = capsys.readouterr().out
    assert said.count("[.701, .782]") == 2 and "95 % interval: bootstrap over 500 items" in said
    assert max(map(len, said.splitlines())) <= 80


def test_a_protocol_of_several_lines_is_said_at_the_first(capsys):
    protocols = {"a_area": "area under the curve", "b_area": "area under the curve", "a_hits": "share of hits"}
    rows = [{"metric": f"test/{name}", "value": 0.5, "protocol": text} for name, text in protocols.items()]
    Console(width=80).print(results_table(rows, "Results"))
    said = capsys.readouterr().out
    assert said.count("area under the curve") == said.count("the same") == said.count("share of hits") == 1


@pytest.mark.parametrize(("limit", "judged"), [(1.0, True), (0.5, False), (1, False)])
def test_the_baseline_of_a_whole_split_is_not_told_of_a_part(limit, judged):
    data = SimpleNamespace(dataset=lambda split, purpose: range(9), noun="images", majority_accuracy=lambda split: 0.25)
    trainer = SimpleNamespace(callbacks=[], callback_metrics={"test/accuracy": torch.tensor(0.5)}, datamodule=data)
    trainer.lightning_module = SimpleNamespace(protocols={"accuracy": "top 1"}, required_keys=("image", "label"))
    trainer.limit_test_batches = limit
    results = Results("test")
    results.collect(trainer, "test")
    (row,), _ = results.rows(trainer)
    assert ("0.2500" in row["protocol"]) == judged


@pytest.mark.parametrize("value", [0.35, 1e-5, 3.0])
def test_files_show_the_decimals_of_a_float32(value):
    assert short(float(np.float32(value))) == value


@pytest.mark.parametrize("value", [1 / 3, 1e300, float("inf"), 16777217.0])
def test_files_show_numbers_of_64_bits_whole(value):
    assert short(value) == value


def test_metrics_of_nothing_are_not_numbers_for_people_and_null_in_json():
    assert (number(float("nan")), number(0.12345), number(0.5, ".1f")) == ("n/a", "0.1235", "0.5")
    assert [or_null(value) for value in (float("nan"), float("inf"), 0.0)] == [None, None, 0.0]
    assert np.isnan(or_nan(None))
    assert or_nan(0.0) == 0


@pytest.mark.parametrize("value", ["short", "a --b", "it's", "long" * 25, "--c d", 'say "it"'])
def test_a_command_is_broken_between_options_into_lines_that_a_shell_reads_as_the_same(monkeypatch, value):
    monkeypatch.setenv("COLUMNS", "60")
    words = ["python", "/a b/cli.py", "fit", "--config", "x.yaml", "--data.root", value, "--data.count", "-1", "--last"]
    first, *others = fill(f"next, the probe:   {shlex.join(words)}").split("\n")
    command = first.partition(":")[2]
    assert others and shlex.split("\n".join([command, *others]).replace("\\\n", "")) == words
    assert all(line.endswith(" \\") for line in (first, *others[:-1]))
    assert all(line.startswith("    ") and len(line) <= 60 for line in others if value not in line)
    assert len(first) <= 60 and " --config \\" not in first  # an option keeps its value


def test_a_sentence_that_holds_a_quote_is_no_command(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    assert fill("note: the run's end is near") == "note: the run's end\n  is near"
    assert fill("it: wandb a's bcdefghijkl") == "it: wandb a's \\\n    bcdefghijkl"


def test_lines_are_wrapped_at_the_width_of_the_terminal_but_paths_stay_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    assert fill("  a  table,  whole") == "  a  table,  whole"
    assert fill("  drawn: one.png, two.png") == "  drawn: one.png,\n    two.png"
    assert fill("in " + "x/" * 20) == "in\n  " + "x/" * 20
