import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_rel

from callbacks.figures.runs import band, comparison
from callbacks.results.comparison import Comparison, paired, spread
from callbacks.results.finished_run import Run, read_run
from callbacks.results.variants import Repeat, Variant
from modules.contracts import DataError
from tests.helpers.errors import assert_named, refuses


def run(value: float, **others: float) -> Run:
    return Run(Path("run"), {"test/accuracy": value, **others}, {"test/accuracy": "how"}, [(1, value)], 1, 1.0)


def variants(*starts: str) -> dict[str, Variant]:
    """Variants that start from these weights, compared to the first."""
    made = (Variant({"model.weights": s}, {"model.weights": s}, starts[0] if s != starts[0] else None) for s in starts)
    return {variant.name: variant for variant in made}


ZERO, ONE = Repeat(0), Repeat(1)


def test_spread_is_mean_and_sample_deviation():
    values = [0.4, 0.5, 0.9]
    assert spread(values) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert spread([0.4]) == (0.4, None)


def test_paired_differences_have_the_error_of_the_paired_t_test():
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 7))
    mean, error = paired(dict(enumerate(first)), dict(enumerate(second)))
    assert mean == pytest.approx(np.mean(first - second))
    assert mean / error == pytest.approx(ttest_rel(first, second).statistic)


def test_pairs_are_made_by_seed_and_seeds_without_a_partner_are_left_out():
    assert paired({5: 1.0, 0: 2.0, 9: 7.0}, {0: 0.5, 5: 0.5}) == pytest.approx((1.0, 0.5))
    assert paired({0: 1.0}, {0: 0.25}) == (0.75, None)
    assert paired({0: 1.0}, {1: 0.25}) == (None, None)


def test_variants_differ_from_their_reference():
    made = Comparison("val/accuracy", "max", variants("moco", "simclr"))
    made.add("moco", ZERO, run(0.5))
    made.add("simclr", ZERO, run(0.75))
    assert [(row.variant, row.difference) for row in made.rows()] == [("moco", None), ("simclr", 0.25)]


def test_only_metrics_that_all_runs_have_are_compared():
    made = Comparison("val/accuracy", "max", variants("none"))
    made.add("none", ZERO, run(0.5, **{"test/f1": 0.4}))
    made.add("none", ONE, run(0.7))
    assert [row.metric for row in made.rows()] == ["test/accuracy"]


def test_a_run_that_was_not_judged_is_refused():
    with refuses(DataError, "test/map50", "val/map50"):
        Comparison("val/map50", "max", variants("none")).add("none", ZERO, run(0.5))


def test_the_validation_counts_where_there_is_no_test(capsys):
    made = Comparison("val/loss", "min", variants("none"))
    made.add("none", ZERO, Run(Path("run"), {"val/loss": 2.0}, {"val/loss": "32 val images"}, [], 3, None))
    assert made.metric == "val/loss"
    made.print_table()
    assert_named(capsys.readouterr().out, "val/loss", "lower", "32 val images", "2.0000")


def test_the_table_waits_for_a_run_of_every_start_and_fits_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    made = Comparison("val/accuracy", "max", variants("none", "simclr_2026-07-01_10-00-00"))
    extra = {f"test/other{i}": 0.1 for i in range(9)}
    made.add("none", ZERO, run(0.5, **extra))
    made.print_table()
    assert capsys.readouterr().out == ""
    made.add("simclr_2026-07-01_10-00-00", ZERO, run(0.75, **extra))
    made.print_table()
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if line[:1] in "┃│") <= 80
    assert any("test/other8" in line for line in lines)  # what did not fit is named


def test_epochs_and_curve_come_from_the_training_alone(tmp_path):
    (tmp_path / "results.json").write_text(
        '{"command": ["python"], "seconds": 2.5, "test weights": "best checkpoint, of epoch 1", "results": '
        '[{"metric": "test/accuracy", "value": 0.5, "protocol": "9 test images"}]}'
    )
    (tmp_path / "metrics.csv").write_text(
        "step,epoch,test/accuracy,train/loss,val/accuracy\n3,0,,1.5,\n3,0,,,0.25\n7,1,,,0.375\n8,2,0.5,,\n,,,,\n"
    )
    made = read_run(tmp_path, "val/accuracy")
    assert (made.epochs, made.curve, made.seconds) == (2, [(1, 0.25), (2, 0.375)], 2.5)
    assert made.protocols.keys() == {"test/accuracy"}
    assert_named(made.protocols["test/accuracy"], "9 test images", "best checkpoint")


def test_the_band_is_over_epochs_that_all_runs_have():
    epochs, mean, low, high = band([[(1, 0.0), (2, 1.0), (3, 9.0)], [(1, 0.5), (2, 2.0)]])
    assert epochs == [1, 2]
    np.testing.assert_allclose([mean, low, high], [[0.25, 1.5], [0.0, 1.0], [0.5, 2.0]])


@pytest.mark.parametrize(
    "curves", [{"none": [[(1, 0.1), (2, 0.2)]], "si$m$clr": [[]]}, {"none": [[]], "si$m$clr": [[]]}]
)
def test_the_image_has_a_second_panel_when_there_are_curves(curves):
    drawn = comparison({"none": [0.1], "si$m$clr": [0.2]}, curves, "test/accuracy", "val/accuracy", "title")
    assert drawn.dtype == np.uint8 and drawn.shape == (440, 1100 if curves["none"][0] else 560, 3)
    assert (drawn < 250).any(axis=(0, 2)).mean() > 0.5


def test_what_a_run_could_not_judge_is_null_in_files_and_not_a_number_in_the_table(tmp_path, trainer, capsys):
    (tmp_path / "metrics.csv").write_text("step,epoch\n1,0\n")
    results = [
        {"metric": "test/map", "value": 0.5, "protocol": "how"},
        {"metric": "test/map_large", "value": None, "protocol": "how"},
    ]
    report = {"results": results, "test weights": "", "command": [], "seconds": 1}
    (tmp_path / "results.json").write_text(json.dumps(report))
    made = Comparison("val/map", "max", variants("none"))
    for repeat in (ZERO, ONE):
        made.add("none", repeat, read_run(tmp_path, "val/map"))
    made.print_table()
    assert "n/a" in capsys.readouterr().out
    made.write(trainer())
    written = json.loads((tmp_path / "compare.json").read_text())
    means = {row["metric"]: row["mean"] for row in written["comparison"]}
    assert means == {"test/map": 0.5, "test/map_large": None}
    assert written["runs"][0]["results"]["test/map_large"] is None
