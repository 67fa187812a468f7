"""Quality of the shipped video classifier, with several frames and with one."""

import pytest

from tests.helpers.commands import values

CHANCE = 1 / 8


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_motion_is_told_from_several_frames_and_not_from_one(graft):
    assert graft("fit", "--config", "tasks/video.yaml", "--run_dir", "shipped")[0] == 0
    assert values("shipped")["test/accuracy"] >= 0.90
    assert graft("fit", "--config", "tasks/video.yaml", "--model.fusion", "single", "--run_dir", "one")[0] == 0
    assert values("one")["test/accuracy"] == pytest.approx(CHANCE, abs=0.05)
