"""What the shipped video classifier reaches, and that it needs time for it."""

import json
from pathlib import Path

import pytest

CHANCE = 1 / 8


def accuracy(run: str) -> float:
    rows = json.loads((Path(run) / "results.json").read_text())["results"]
    return next(row["value"] for row in rows if row["metric"] == "test/video_acc")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_motion_is_told_from_several_frames_and_not_from_one(graft):
    assert graft("fit", "--config", "tasks/video.yaml", "--run_dir", "shipped")[0] == 0
    assert accuracy("shipped") >= 0.90
    assert graft("fit", "--config", "tasks/video.yaml", "--model.fusion", "single", "--run_dir", "one")[0] == 0
    assert accuracy("one") == pytest.approx(CHANCE, abs=0.05)
