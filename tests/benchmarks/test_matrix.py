"""Transfer matrix: its starts can be made, its table says what is sure, and it goes on where it was stopped."""

import json

import pytest
import yaml
from PIL import Image

from benchmarks import matrix
from benchmarks.fits import TASKS
from benchmarks.matrix import COLUMNS, ROWS, correlations
from benchmarks.matrix_report import Cell, draw, draw_correlations, markdown
from tests.helpers.errors import assert_named

BETTER = Cell("simclr", "video", "test/accuracy", 0.5, 0.4, 0.6, 0.2, 0.1, 0.3)
UNCLEAR = Cell("byol", "video", "test/accuracy", 0.3, 0.2, 0.4, 0.0, -0.1, 0.1)
PLAIN = Cell("none", "video", "test/accuracy", 0.3, 0.2, 0.4, None, None, None)


@pytest.mark.parametrize("name", sorted({*ROWS.values(), *COLUMNS} - {None}))
def test_all_starts_and_tasks_share_a_backbone(name):
    settings = yaml.safe_load((TASKS / f"{name}.yaml").read_text())
    assert settings["model"]["init_args"]["backbone"] == "test_resnet"


def test_the_table_marks_what_is_distinguishable(tmp_path):
    table = markdown([PLAIN, BETTER, UNCLEAR])
    assert "50.0 **+20.0 [+10.0, +30.0]**" in table
    assert "30.0 +0.0 [-10.0, +10.0]" in table
    assert "| `none` | 30.0 |" in table
    draw([PLAIN, BETTER, UNCLEAR], "title", tmp_path / "matrix.png")
    assert Image.open(tmp_path / "matrix.png").size[0] > 300
    draw_correlations({"val/knn": {"video": (0.9, 12), "detection": (-0.2, 12)}}, tmp_path / "correlations.png")
    assert Image.open(tmp_path / "correlations.png").size[0] > 300


def test_correlations_are_of_ranks_over_the_starts_that_have_the_statistic(tmp_path):
    cells, starts = [], {}
    for number in range(6):
        name = f"start{number}"
        cells.append(Cell(name, "video", "test/accuracy", number**2 / 100, None, None, None, None, None))
        starts[name] = tmp_path / name
        starts[name].mkdir()
        statistics = {"val/knn": number, "val/alignment": -number} | ({"val/lidar": number % 3} if number < 3 else {})
        rows = [{"metric": key, "value": value} for key, value in statistics.items()]
        (starts[name] / "results.json").write_text(json.dumps({"results": rows}))
    found = correlations(cells, starts)
    assert found["val/knn"]["video"] == (pytest.approx(1), 6)
    assert found["val/alignment"]["video"] == (pytest.approx(-1), 6)
    assert "val/lidar" not in found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_starts_in_three_tasks_are_made_once(tmp_path, monkeypatch, capsys):
    argv = ["--out", str(tmp_path), "--rows", "none", "simclr", "supervised", "--seeds", "2", "--columns"]
    argv += ["classification", "detection", "video", *"--data.val 16 --data.test 24 --data.workers 0".split()]
    argv += "--data.train 48 --data.batch_size 16 --trainer.max_epochs 1 --trainer.precision 32".split()
    monkeypatch.setattr(matrix, "LABELED", 48)
    first = matrix.main(argv)
    assert len(first["cells"]) == 9
    assert_named(capsys.readouterr().out, "simclr", "supervised", "video")
    assert Image.open(tmp_path / "matrix.png").size[0] > 300
    again, made = matrix.run, []
    monkeypatch.setattr(matrix, "run", lambda *words: (made.append(words[0]), again(*words)))
    assert matrix.main(argv)["cells"] == first["cells"]
    assert made == ["compare"] * 3
