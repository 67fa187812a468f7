import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from callbacks.figures.response import Point, response
from callbacks.figures.runs import Bar, band, comparison
from callbacks.results.comparison import Comparison
from callbacks.results.comparison_report import numeric, print_report, shared_name, write
from callbacks.results.finished_run import Run, read_run
from callbacks.results.uncertainty import TEST_ITEMS, Judged, Repeated, joined, over_seeds, read_judged
from callbacks.results.variants import Repeat, Variant
from callbacks.results.verdicts import enough, verdict
from modules.contracts import DataError
from modules.metrics.bootstrap import Estimate, Items, Sums
from tests.helpers.errors import assert_named, refuses


def run(value: float, **others: float) -> Run:
    return Run(Path("run"), {"test/accuracy": value, **others}, {"test/accuracy": "how"}, [(1, value)], 1, 1.0)


def variants(*starts: str) -> dict[str, Variant]:
    """Variants that start from these weights, compared to the first."""
    references = [None, *[starts[0]] * (len(starts) - 1)]
    made = (Variant({"model.weights": s}, {"model.weights": s}, r) for s, r in zip(starts, references, strict=True))
    return {variant.name: variant for variant in made}


ZERO, ONE = Repeat(0), Repeat(1)


def test_without_test_items_intervals_are_students_over_seeds():
    values = np.random.default_rng(0).normal(size=5)
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    assert over_seeds(values)[:3] == pytest.approx((values.mean(), low, high))
    assert over_seeds([0.4]) is over_seeds([0.4, np.nan]) is None


def test_paired_differences_have_the_interval_of_the_paired_t_test():
    first, second = np.random.default_rng(0).normal(size=(2, 7))
    found = Repeated(first, [None] * 7, "m").minus(Repeated(second, [None] * 7, "m"))
    low, high = ttest_rel(first, second).confidence_interval(0.95)
    assert found[:3] == pytest.approx((np.mean(first - second), low, high))


def judged(right: np.ndarray, ids: str = "a") -> tuple[list[float], list[Judged]]:
    """Accuracies, and resampled ones, of runs whose answers are right or wrong, (S, N)."""
    size = right.shape[1]
    counts = np.random.default_rng(0).multinomial(size, np.full(size, 1 / size), 1000)
    names = np.array([f"{ids}{i:05d}" for i in range(size)])
    return list(right.mean(1)), [Judged(names, {"m": counts @ of_run / size}) for of_run in right]


def test_differences_on_the_same_items_are_paired_by_item_and_on_others_are_not():
    right = np.random.default_rng(1).random((1, 400)) < 0.7
    other = right.copy()
    other[:, :8] = ~other[:, :8]  # the same answers but for eight
    same = Repeated(*judged(right), "m").minus(Repeated(*judged(other), "m"))
    assert same.standard_error == pytest.approx((8 / 400**2) ** 0.5, rel=0.2)
    apart = Repeated(*judged(right), "m").minus(Repeated(*judged(other, "b"), "m"))
    assert apart.standard_error == pytest.approx((2 * 0.7 * 0.3 / 400) ** 0.5, rel=0.1)


def test_an_interval_is_over_seeds_and_items():
    right = np.repeat(np.random.default_rng(2).random((1, 500)) < 0.7, 3, axis=0)  # seeds that all answer alike
    values, runs = judged(right)
    found = Repeated(values, runs, "m").interval()
    assert (found.items, found.seeds) == (500, 3)
    assert found.standard_error == pytest.approx((0.7 * 0.3 / 500) ** 0.5, rel=0.1)
    assert over_seeds(values).standard_error == 0
    assert Repeated(values, [None, *runs[1:]], "m").interval() == over_seeds(values)  # one run left no items


def test_the_folds_of_a_seed_are_one_run_on_all_their_items():
    right = np.random.default_rng(3).random((1, 600)) < 0.7
    parts = [judged(right[:, :300], "a"), judged(right[:, 300:], "b")]
    whole = joined([found[0] for _, found in parts])
    found = Repeated([right.mean()], [whole], "m").interval()
    assert (found.items, found.seeds) == (600, 1)
    assert found.standard_error == pytest.approx((0.7 * 0.3 / 600) ** 0.5, rel=0.1)
    assert joined([whole, None]) is None


def difference(value: float, error: float, seeds: int = 3, items: int = 1000, **parts: float) -> Estimate:
    return Estimate(value, value - 2 * error, value + 2 * error, error, items, seeds, **parts)


@pytest.mark.parametrize(("value", "mode", "winner"), [(0.1, "max", "a"), (-0.1, "max", "b"), (-0.1, "min", "a")])
def test_a_clear_difference_names_the_better_one(value, mode, winner):
    said = verdict("a", "b", mode, difference(value, 0.01), "images")
    assert said == f"{winner} is better than {'b' if winner == 'a' else 'a'} by 0.1000 [0.0800, 0.1200]"


def test_an_unclear_difference_says_what_would_be_needed():
    unclear = difference(0.01, 0.01, seed_variance=1e-4, item_variance=0.02, both_variance=0.0)
    assert enough(unclear) == (None, None)  # neither more seeds nor more items alone would do
    fewer = enough(unclear._replace(item_variance=0.0))
    assert (1e-4 / fewer.seeds) ** 0.5 == pytest.approx(0.01 / 2.8, rel=0.1)
    said = verdict("a", "b", "max", unclear, "images")
    assert_named(said, "not distinguishable", "3 seeds and 1,000 images", "+0.0100", "-0.0100", "+0.0300", "needed")
    assert "one" in verdict("a", "b", "max", None, "images")
    assert "equal" in verdict("a", "b", "max", difference(0.0, 0.0), "images")


def test_more_seeds_are_asked_for_than_there_are():
    few = over_seeds([0.1, 0.12])._replace(low=-0.1)
    assert enough(few).seeds == 3


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


def test_runs_that_are_wrong_on_every_item_have_no_interval_of_width_0():
    made = Comparison("val/accuracy", "max", variants("none"))
    for repeat in (ZERO, ONE):
        made.add("none", repeat, run(0.0))
    assert made.interval("none", "test/accuracy") is None


def test_the_validation_counts_where_there_is_no_test(capsys):
    made = Comparison("val/loss", "min", variants("none"))
    made.add("none", ZERO, Run(Path("run"), {"val/loss": 2.0}, {"val/loss": "32 val images"}, [], 3, None))
    assert made.metric == "val/loss"
    print_report(made)
    assert_named(capsys.readouterr().out, "val/loss", "lower", "32 val images", "2.0000")


def test_the_table_waits_for_a_run_of_every_start_and_fits_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    made = Comparison("val/accuracy", "max", variants("none", "simclr_2026-07-01_10-00-00"))
    extra = {f"test/other{i}": 0.1 for i in range(9)}
    made.add("none", ZERO, run(0.5, **extra))
    print_report(made)
    assert capsys.readouterr().out == ""
    made.add("simclr_2026-07-01_10-00-00", ZERO, run(0.75, **extra))
    print_report(made)
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


@pytest.mark.parametrize(
    "text", ["", "{", "{}", "[1]", '{"results": [{"metric": "a"}], "test weights": "", "command": [], "seconds": 1}']
)
def test_a_damaged_run_is_named_with_what_to_do(tmp_path, text):
    (tmp_path / "metrics.csv").write_text("step,epoch\n1,0\n")
    (tmp_path / "results.json").write_text(text)
    with refuses(DataError, tmp_path, "results.json", "delete the folder"):
        read_run(tmp_path, "val/map")


def test_damaged_test_items_are_named_with_what_to_do(tmp_path):
    path = tmp_path / TEST_ITEMS
    Items(np.array(["a", "b", "c"]), [Sums("means", ["accuracy"], np.array([[1, 1], [0, 1], [1, 1]]))]).save(path)
    whole = path.read_bytes()
    assert read_judged(tmp_path)
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            read_judged(tmp_path)
        except DataError as error:
            assert_named(str(error), path, "delete the folder")
    path.write_bytes(whole[:-40])
    with refuses(DataError, path, "delete the folder"):
        read_judged(tmp_path)


def test_the_band_is_over_epochs_that_all_runs_have():
    epochs, mean, low, high = band([[(1, 0.0), (2, 1.0), (3, 9.0)], [(1, 0.5), (2, 2.0)]])
    assert epochs == [1, 2]
    np.testing.assert_allclose([mean, low, high], [[0.25, 1.5], [0.0, 1.0], [0.5, 2.0]])


@pytest.mark.parametrize(
    "curves", [{"none": [[(1, 0.1), (2, 0.2)]], "si$m$clr": [[]]}, {"none": [[]], "si$m$clr": [[]]}]
)
def test_the_figure_has_panels_for_differences_and_curves_where_there_are_any(curves):
    results = {"none": Bar([0.1], 0.1), "si$m$clr": Bar([0.2, 0.3], 0.25, 0.2, 0.3)}
    names = {"metric": "test/accuracy", "reference": "none", "monitor": "val/accuracy", "title": "title"}
    drawn = comparison(results, {"si$m$clr": Bar([], 0.1, 0.05, 0.2)}, curves, **names)
    alone = comparison(results, {}, curves, **names)
    assert drawn.dtype == np.uint8 and drawn.shape == (440, 870 + (560 if curves["none"][0] else 0), 3)
    assert alone.shape[1] == drawn.shape[1] - 380
    assert (drawn < 250).any(axis=(0, 2)).mean() > 0.5


def grid(first: list[str], second: list[str]) -> dict[str, Variant]:
    """Label fractions and weights, compared to the first weights."""
    made = [
        Variant(
            {"data.label_fraction": x, "model.weights": y},
            {"data.label_fraction": f"label_fraction={x}", "model.weights": y},
            None if y == second[0] else f"label_fraction={x},{second[0]}",
        )
        for x in first
        for y in second
    ]
    return {variant.name: variant for variant in made}


def test_numeric_settings_have_a_figure_each_and_references_of_a_grid_their_common_name(tmp_path, trainer):
    made = Comparison("val/accuracy", "max", grid(["0.01", "1"], ["none", "simclr"]))
    assert numeric(made) == ["data.label_fraction"]
    assert shared_name(made) == "none"
    for number, name in enumerate(made.variants):
        for repeat in (ZERO, ONE):
            found = run(number / 10 + repeat.seed / 100)._replace(folder=tmp_path / name / repeat.name)
            made.add(name, repeat, found)
    write(made, trainer(), "compare")
    assert (tmp_path / "figures" / "compare_label_fraction.png").is_file()
    report = json.loads((tmp_path / "compare.json").read_text())
    assert [row["difference"] for row in report["comparison"]] == pytest.approx([None, 0.1, None, 0.1])
    assert len(report["verdicts"]) == 2
    header, first, *_ = (tmp_path / "compare.csv").read_text().splitlines()
    assert header.split(",")[:4] == ["variant", "data.label_fraction", "model.weights", "metric"]
    assert first.startswith('"label_fraction=0.01,none",0.01,none,test/accuracy,2')


def test_the_best_of_many_is_named_with_those_that_may_be_as_good():
    made = Comparison("val/loss", "min", variants("a", "b", "c"))
    for name, values in {"a": (0.9, 0.92), "b": (0.5, 0.52), "c": (0.5, 0.53)}.items():
        for repeat, value in zip((ZERO, ONE), values, strict=True):
            made.add(name, repeat, Run(Path("run"), {"val/loss": value}, {"val/loss": "how"}, [], 1, 1.0))
    assert made.verdicts()[-1] == "best: b (0.5100); not distinguishable from it: c"


@pytest.mark.parametrize("places", [(0.01, 0.1, 1), (0, 0.001, 0.1), (0, 0.5)])
def test_results_over_a_setting_are_drawn(places):
    points = [Point(place, 0.5, 0.4, 0.6) for place in places]
    drawn = response({"none": points, "si$m$clr": [Point(1, 0.4)]}, "data.label_fraction", "test/accuracy", "title")
    assert drawn.dtype == np.uint8 and (drawn < 250).any(axis=(0, 2)).mean() > 0.5


def test_what_a_run_could_not_judge_is_null_in_files_and_not_a_number_in_the_table(
    tmp_path, trainer, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "120")
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
    print_report(made)
    assert "n/a" in capsys.readouterr().out
    write(made, trainer(), "compare")
    written = json.loads((tmp_path / "compare.json").read_text())
    means = {row["metric"]: row["mean"] for row in written["comparison"]}
    assert means == {"test/map": 0.5, "test/map_large": None}
    assert written["runs"][0]["results"]["test/map_large"] is None
