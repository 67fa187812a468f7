"""Two gloo processes have the same losses as one with the same global batch."""

import json

import pytest


def test_two_processes_have_the_losses_of_one(alone_and_by_twos):
    one, two = (json.loads(path.read_text()) for path in alone_and_by_twos("two_processes.py"))
    assert set(one) == {"SimCLR", "MoCo", "MoCo, symmetric", "MoCoV3", "BYOL", "SimSiam", "DINO", "DINO, sinkhorn"}
    for method, losses in one.items():
        assert len(losses) == 20
        assert losses[-1] != losses[0]
        assert two[method] == pytest.approx(losses, abs=1e-5), method
